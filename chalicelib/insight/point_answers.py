"""Recovery points as the API answers them. Pure; the keys are a contract (docs/api.md)."""

from typing import Annotated, Any

from pydantic import WithJsonSchema

from chalicelib.catalog.recovery_point import (
    STATES_OF_POINTS,
    Artefact,
    FileContent,
    Origin,
    PointState,
    RecoveryPoint,
    Segments,
    SnapshotSet,
    StoredFile,
)
from chalicelib.catalog.values import Answer, Moment, present, says
from chalicelib.plans.declared import Maybe
from chalicelib.plans.model import Kind


class DueCopyAnswer(Answer):
    """A copy that failed and will be tried again."""

    vault: Annotated[str, says("the vault it goes into")]
    tries: Annotated[int, says("how often it was tried")]
    next_try_at: Annotated[Moment | None, says("when it is tried again; null: now, or it is under way")]


class ArtefactAnswer(Answer):
    """A recovery point in one vault: snapshots in a region, or a file."""

    vault: Annotated[str, says("the vault")]
    state: Annotated[PointState, says("its state there")]
    verified_at: Annotated[
        Moment | None,
        says("when its bytes were last read back and found right; snapshots are never read back"),
    ]
    reason: Annotated[str, says("why it is in this state, where that needs saying")]
    let_go_at: Annotated[Maybe[Moment], says("until when it can be undeleted")] = None
    region: Annotated[str | None, says("of snapshots: their region")] = None
    snapshot_count: Annotated[Maybe[int], says("of snapshots: how many there are")] = None
    snapshot_ids: Annotated[
        Maybe[tuple[str, ...]], says("of snapshots: their ids; left out where there are very many")
    ] = None
    sha256: Annotated[
        str | None,
        says("of a file: the SHA-256 of the whole; null if it was too large to be read in one turn"),
    ] = None
    parts_sha256: Annotated[
        str | None, says("of a file: the SHA-256 over lines `SIZE SHA256`, one for each part in its manifest")
    ] = None
    folder: Annotated[str | None, says("of a file: the folder with its manifest")] = None
    segments: Annotated[Maybe[int], says("of a file off-site: the number of its segments")] = None
    key: Annotated[str | None, says("of a file in S3: its object's key")] = None


class PointAnswer(Answer):
    """A recovery point."""

    id: Annotated[str, says("the point's id")]
    service: Annotated[str, says("the service it is of")]
    plan: Annotated[str, says("the plan it was made under")]
    rule: Annotated[str, says("the rule of the plan")]
    kind: Annotated[Kind, says("snapshots, or the file of a service's script")]
    state: Annotated[
        PointState,
        WithJsonSchema({"type": "string", "enum": list(STATES_OF_POINTS)}),
        says("its state"),
    ]
    nominal_at: Annotated[Moment, says("when it was due")]
    created_at: Annotated[Moment, says("when its data was taken")]
    source: Annotated[
        dict[str, Any],
        says("what it was made of: instances, volumes, the scripts that put it back, remarks by volume"),
    ]
    size_bytes: Annotated[int, says("its size")]
    reason: Annotated[str, says("why it is in this state, where that needs saying")]
    artefacts: Annotated[tuple[ArtefactAnswer, ...], says("one for each vault")]
    origin: Annotated[Origin, says("what it was opened by")]
    note: Annotated[Maybe[str], says("the note of the person who requested it")] = None
    keep_until: Annotated[Maybe[Moment], says("until when it is kept, as was requested")] = None
    hold: Annotated[Maybe[str], says("why it is held, whatever its lifecycle says")] = None
    partial: Annotated[Maybe[bool], says("that it lacks a part of its service")] = None
    left_out: Annotated[Maybe[tuple[str, ...]], says("what it lacks")] = None
    suspect: Annotated[Maybe[str], says("why it is suspect")] = None
    confirmed: Annotated[Maybe[str], says("an operator's reason to count it as good all the same")] = None
    copies_due: Annotated[
        Maybe[tuple[DueCopyAnswer, ...]], says("copies that failed and will be tried again")
    ] = None


class PointPage(Answer):
    """A page of recovery points, newest first."""

    items: Annotated[tuple[PointAnswer, ...], says("the recovery points")]
    cursor: Annotated[str | None, says("the cursor of the next page; null on the last page")]


def point_answer(point: RecoveryPoint) -> PointAnswer:
    """Return a recovery point, as the API answers it."""
    due = (
        DueCopyAnswer(vault=vault, tries=each.tries, next_try_at=each.at)
        for vault, each in sorted(point.due.items())
    )
    return PointAnswer(
        id=point.id,
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        kind=point.kind,
        state=point.state,
        nominal_at=point.nominal_at,
        created_at=point.created_at,
        source={name: value for name, value in point.source.items() if name != "rule"},
        size_bytes=point.size_bytes,
        reason=point.reason,
        artefacts=tuple(_artefact_answer(artefact) for _, artefact in sorted(point.artefacts.items())),
        origin=point.origin,
        **present(
            note=point.note or None,
            keep_until=point.keep_until,
            hold=point.hold,
            partial=True if point.left_out else None,
            left_out=point.left_out or None,
            suspect=point.suspect if point.is_suspect else None,
            confirmed=point.confirmed,
            copies_due=tuple(due) or None,
        ),
    )


def _artefact_answer(artefact: Artefact) -> ArtefactAnswer:
    return ArtefactAnswer(
        vault=artefact.vault,
        state=artefact.state,
        verified_at=artefact.verified_at,
        reason=artefact.reason,
        **present(let_go_at=artefact.let_go_at),
        **content_keys(artefact),
    )


def content_keys(artefact: Artefact) -> dict[str, Any]:
    """Return the keys of an answer that say what an artefact consists of."""
    match artefact.content:
        case SnapshotSet(region=region, snapshot_count=number, snapshots=refs):
            ids = tuple(ref.id for ref in refs)
            return {"region": region, "snapshot_count": number, "snapshot_ids": ids}
        case StoredFile(key=key) as file:
            return {**_file_keys(file, artefact.folder), "key": key}
        case Segments(segment_count=number) as file:
            return {**_file_keys(file, artefact.folder), "segments": number}
    return present(folder=artefact.folder or None)


def _file_keys(file: FileContent, folder: str) -> dict[str, Any]:
    return {"sha256": file.sha256, "parts_sha256": file.parts_sha256, "folder": folder}
