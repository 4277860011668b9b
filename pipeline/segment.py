"""Names the parts of one's own clouds: the work of `pointnet-parts segment`.

Clouds are read some at a time, sent in batches of similar sizes, and written as they are answered.
What is wrong with one of them is said in a sentence, and the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from pipeline.clouds_to_segment import CloudSource, find_clouds, read_cloud
from pipeline.command_line import PROGRAM
from pipeline.request_log import RequestLog
from pipeline.segmented_folder import PAGE_FILE, TABLE_FILE, SegmentedFolder
from preprocessing.progress import progress
from reports.segmented_page import PageCloud, page_cloud, render_page
from schema.categories import Category
from schema.errors import UserError, counted
from schema.record import to_float32
from serving.batches import segment_in_batches
from serving.parts_table import numbered_parts, read_parts
from serving.segmented_cloud import SegmentedCloud
from serving.segmenter import Answer, Segmenter
from serving.writers import FILE_FORMATS

PAGE_FORMAT = "html"
FORMATS = (*FILE_FORMATS, PAGE_FORMAT)
ALL_DONE, SOME_FAILED, NOTHING_DONE = 0, 1, 2
# So many batches are read at once, to be sorted by size.
_BATCHES_READ = 16


@dataclass(frozen=True)
class Model:
    """Who is asked, and what the answers mean.

    Attributes:
      segmenter: an exported model or a server.
      title: its folder or address.
      index: the asked category's index, None for a model of one category.
      category: whose parts are named; None where nobody said, and parts are numbered.
      classes: how many classes the model should have; None where nobody said.
    """

    segmenter: Segmenter
    title: str
    index: int | None
    category: Category | None
    classes: int | None

    def answer(self, name: str, points: np.ndarray, answer: Answer) -> SegmentedCloud:
        """A cloud with what the model said of it.

        Raises:
          UserError: the model has other parts than those that were given.
        """
        part, probability = answer
        found = probability.shape[1]
        if self.classes not in (None, found):
            raise UserError(
                "unavailable",
                f"{self.title} knows {counted(found, 'part')}, expected {self.classes} as in the "
                "parts.json given; give that of the model which is asked.",
            )
        category = self.category or numbered_parts(found, self.index)
        return SegmentedCloud(name, points, part, probability, category)


def load_model(folder: str, category: str, version: int | None = None) -> Model:
    """An exported model, loaded here.

    Args:
      folder: a SavedModel's, one of numbered versions, or a trained model's.
      version: which of the numbered versions; None: the last.
      category: name of the clouds' category; "" for a model of a single one.

    Raises:
      UserError: it cannot be loaded, or knows no such category.
    """
    from serving.exported_model import ExportedModel, exported_folder, exported_parts

    try:
        found = exported_folder(Path(folder).expanduser(), version)
        categories = exported_parts(found)
        index, chosen = _choose(categories, category)
        segmenter = ExportedModel(found)
    except UserError as error:
        raise UserError("no_model", str(error)) from None
    return Model(segmenter, str(found), index, chosen, _classes(categories))


def reach_server(segmenter: Segmenter, address: str, parts: str, category: str) -> Model:
    """A server's model; nothing is asked of it yet.

    Args:
      segmenter: its client.
      address: for sentences.
      parts: a parts.json; "" numbers the parts.
      category: name of the clouds' category, or without parts its index; "" for a model of a
        single one.

    Raises:
      UserError: the parts cannot be read, or there is no such category among them.
    """
    if parts:
        try:
            categories = read_parts(Path(parts).expanduser())
        except UserError as error:
            raise UserError("no_parts", str(error)) from None
        index, chosen = _choose(categories, category)
        return Model(segmenter, address, index, chosen, _classes(categories))
    if category and not category.isdecimal():
        raise UserError(
            "no_parts",
            f"which number the server's model gives the category {category} stands in its "
            "parts.json: give that with --parts, or the number with --category.",
        )
    return Model(segmenter, address, int(category) if category else None, None, None)


def segment_clouds(
    places: Sequence[str],
    model: Model,
    formats: Sequence[str],
    output: Path,
    batch_points: int,
    batch_clouds: int,
    mesh_points: int,
    log: RequestLog | None = None,
) -> int:
    """Reads clouds, asks for their parts, writes them, and says what went wrong on stderr.

    Args:
      places: see `find_clouds`.
      model: whom to ask.
      formats: of FORMATS.
      output: the folder to write.
      batch_points: the most points of a padded batch.
      batch_clouds: the most clouds of a batch.
      mesh_points: points drawn from a mesh.
      log: where clouds that were answered are kept; closed by this.

    Returns:
      The exit status: ALL_DONE, SOME_FAILED or NOTHING_DONE.

    Raises:
      UserError: the output folder is no place to write to.
    """
    run = _Run(model, formats, output, batch_points, batch_clouds, mesh_points, log)
    sources, missing = find_clouds(places, run.folder.own_files)
    run.failures += map(str, missing)
    try:
        with progress("Segmenting", len(sources), lambda: run.passed, "clouds"):
            run.segment(sources)
    finally:
        if log is not None:
            log.close()
        for sentence in run.failures:
            click.echo(f"{PROGRAM}: {sentence}", err=True)
    if run.stopped:
        click.echo(f"{PROGRAM}: {run.stopped}", err=True)
        left = len(sources) - run.passed
        if left and run.clouds:
            click.echo(f"{PROGRAM}: {counted(left, 'cloud')} left undone", err=True)
    if not run.clouds:
        return NOTHING_DONE
    click.echo(
        f"{counted(run.clouds, 'cloud')}, {counted(run.points, 'point')}: {output} "
        f"({', '.join(formats)}; {TABLE_FILE} lists them)"
    )
    if PAGE_FORMAT in formats:
        click.echo(f"page: {output / PAGE_FILE}")
    if log is not None:
        click.echo(f"log: {counted(log.clouds, 'cloud')} kept")
    if run.folder.replaced:
        click.echo(f"replaced: {counted(run.folder.replaced, 'file')} that this command had made")
    return SOME_FAILED if run.failures or run.stopped else ALL_DONE


class _Run:
    """One call's work.

    Attributes:
      folder: where the answers go.
      passed: clouds that are done or failed.
      clouds: those that are done.
      points: theirs.
      failures: a sentence for each that failed.
      stopped: why the rest was left undone; "" where nothing was.
    """

    def __init__(
        self,
        model: Model,
        formats: Sequence[str],
        output: Path,
        batch_points: int,
        batch_clouds: int,
        mesh_points: int,
        log: RequestLog | None,
    ) -> None:
        self.folder = SegmentedFolder(output, [form for form in formats if form in FILE_FORMATS])
        self.passed = self.clouds = self.points = 0
        self.failures: list[str] = []
        self.stopped = ""
        self._model = model
        self._batch_points, self._batch_clouds = batch_points, batch_clouds
        self._mesh_points, self._log = mesh_points, log
        self._page: dict[str, PageCloud] | None = {} if PAGE_FORMAT in formats else None
        if self._page is not None:
            self.folder.check_page()

    def segment(self, sources: Sequence[CloudSource]) -> None:
        """Segments and writes all that can be; the page last."""
        try:
            for some in self._read(sources):
                self._answer(some)
            if self.clouds:
                self.folder.finish_table()
            if self._page:
                shown = [self._page[s.name] for s in sources if s.name in self._page]
                self.folder.write_page(render_page(shown, self._model.title, self.failures))
        except UserError as error:
            self.stopped = str(error)
        except OSError as error:
            self.stopped = (
                f"{self.folder.root}: cannot be written ({error.strerror or error}); make room or "
                "give another --output."
            )

    def _read(
        self, sources: Sequence[CloudSource]
    ) -> Iterator[list[tuple[CloudSource, np.ndarray]]]:
        """The sound clouds, as many at a time as make some batches."""
        some: list[tuple[CloudSource, np.ndarray]] = []
        held = 0
        for source in sources:
            try:
                self.folder.check(source.name, source.path)
                points = read_cloud(source, self._mesh_points)
            except UserError as error:
                self._fail(str(error))
                continue
            some.append((source, points))
            held += len(points)
            if held >= _BATCHES_READ * self._batch_points:
                yield some
                some, held = [], 0
        if some:
            yield some

    def _answer(self, some: list[tuple[CloudSource, np.ndarray]]) -> None:
        clouds = [to_float32(points)[0] for _, points in some]
        for index, answer in segment_in_batches(
            self._model.segmenter,
            clouds,
            self._model.index,
            self._batch_points,
            self._batch_clouds,
        ):
            source, points = some[index]
            if isinstance(answer, UserError):
                self._fail(f"{source.path}: {answer}")
                continue
            cloud = self._model.answer(source.name, points, answer)
            self.folder.write(cloud, source.path)
            if self._log is not None:
                self._log.add(source.name, points)
            if self._page is not None:
                self._page[cloud.name] = page_cloud(
                    cloud.name, points, cloud.part, cloud.certainty, cloud.category
                )
            self.passed += 1
            self.clouds += 1
            self.points += len(points)

    def _fail(self, sentence: str) -> None:
        self.passed += 1
        self.failures.append(sentence)


def _choose(categories: tuple[Category, ...], name: str) -> tuple[int | None, Category]:
    """The asked category's index, None where there is but one, and itself."""
    names = [category.name for category in categories]
    if name and name not in names:
        raise UserError(
            "other_category",
            f"the model knows {', '.join(names)}, and not {name!r}; give one of them with "
            "--category.",
        )
    if len(categories) == 1:
        return None, categories[0]
    if not name:
        raise UserError(
            "no_category",
            f"the model knows {', '.join(names)}; say with --category what the clouds are.",
        )
    return names.index(name), categories[names.index(name)]


def _classes(categories: tuple[Category, ...]) -> int:
    return sum(len(category.parts) for category in categories)
