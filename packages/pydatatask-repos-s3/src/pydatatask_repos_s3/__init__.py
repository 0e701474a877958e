"""S3 repositories for pydatatask."""
