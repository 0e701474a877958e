"""Two tasks over metadata in YAML files: one measures notes, and the next one doubles what was measured."""

from __future__ import annotations

import pydatatask

notes = pydatatask.YamlMetadataFileRepository("notes")
lengths = pydatatask.YamlMetadataFileRepository("lengths")
doubles = pydatatask.YamlMetadataFileRepository("doubles")


@pydatatask.InProcessSyncTask("measure", pydatatask.YamlMetadataFileRepository("measured"))
async def measure(
    job: str, notes: pydatatask.YamlMetadataFileRepository, lengths: pydatatask.YamlMetadataFileRepository
) -> None:
    await lengths.dump(job, len((await notes.info(job))["text"]))


@pydatatask.InProcessSyncTask("double", pydatatask.YamlMetadataFileRepository("doubled"))
async def double(
    job: str, lengths: pydatatask.YamlMetadataFileRepository, doubles: pydatatask.YamlMetadataFileRepository
) -> None:
    await doubles.dump(job, 2 * await lengths.info(job))


measure.link("notes", notes, is_input=True)
measure.link("lengths", lengths, is_output=True)
double.plug(measure)
double.link("doubles", doubles, is_output=True)

pipeline = pydatatask.Pipeline([measure, double], pydatatask.Session())

if __name__ == "__main__":
    pydatatask.main(pipeline)
