"""The gallery's section of the page: pictures that `harness gallery` wrote, and what classifiers say of them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.base.errors import HarnessError
from harness.report.gallery.contents import CLEAN, ORIGINAL, Gallery, Hard, Says, Shot, Specimen
from harness.report.gallery.reading import ShownGallery, galleries
from harness.report.page.parts import BoardRow, BoardTable, Cell, Picture, Section, Strip, slug

TITLE = "What classifiers see"
INTRO = (
    "A few test images, clean, corrupted, denoised in one step from diffusion time t, and adapted, with the noise of "
    "the evaluation. Under each picture the classes that it is given:"
)
MANY = "7: 8 of 10, 97 % means: 8 of 10 classifiers say class 7, with a mean probability of 97 %; ✗ is a wrong class."
ONE = "7: 97 % means class 7 with a probability of 97 %; ✗ is a wrong class."
CORRUPTED = "corrupted"
"""The view of an image under a corruption without any method, in the page's words."""

WORDS = "In each cell the class and its probability; ✗ marks a wrong one. Probabilities are rounded."


def gallery_section(root: Path, model: str | None = None, local: bool = True) -> Section | None:
    """The galleries of a results folder as one section; None where there is none.

    Galleries and pictures that are not what they should be are left out, with the reason as a note.
    model: only what this classifier says, of galleries that have it. local: also the user's own galleries.
    """
    strips: list[Strip] = []
    tables: list[BoardTable] = []
    notes: list[str] = []
    for entry in galleries(root, local):
        if isinstance(entry, HarnessError):
            notes.append(f"A gallery is left out: {entry}")
            continue
        spoken = _Spoken.of(entry, model)
        if not spoken.models and not spoken.hard_models:
            continue
        strips += spoken.strips()
        tables += [*spoken.tables(), _sources(entry)]
        notes += [f"A picture is left out: {reason}" for reason in entry.left_out]
        notes += [] if entry.gallery.complete else [f"{entry.name}: its making was stopped. Go on: harness gallery."]
    if not strips and not notes:
        return None
    return Section("gallery", TITLE, f"{INTRO} {ONE if model else MANY}", images=strips, notes=notes, folded=tables)


def _sources(shown: ShownGallery) -> BoardTable:
    """Provenance of a gallery, in (word, value) rows."""
    gallery = shown.gallery
    pairs = [("suite", f"{gallery.suite} v{gallery.suite_version}"), ("data", gallery.data_sha256)]
    pairs += [("seed", str(gallery.spec.get("seed", "unknown")))]
    pairs += [("diffusion model", f"{gallery.denoiser.name} {gallery.denoiser.sha256}")] if gallery.denoiser else []
    pairs += [(network.name, network.sha256) for network in gallery.models]
    pairs += [("records of the hardest images", ", ".join(gallery.hardest.records))] if gallery.hardest else []
    pairs += sorted(gallery.environment.items())
    pairs += [("made by", gallery.command)]
    rows = [BoardRow([Cell(word), Cell(value)]) for word, value in pairs]
    caption = "SHA-256 of data and weights; versions and device of the machine."
    id = slug("gallery", shown.name, "sources")
    return BoardTable(id, f"{shown.name}: sources of the gallery", ["", "value"], rows, caption, names=2)


class _Spoken:
    """A gallery with the answers of some classifiers.

    models, hard_models: by place, the names of these for the images and for the hardest images.
    """

    def __init__(self, shown: ShownGallery, models: dict[int, str], hard_models: dict[int, str]) -> None:
        self._shown = shown
        self._gallery: Gallery = shown.gallery
        self.models = models
        self.hard_models = hard_models

    @classmethod
    def of(cls, shown: ShownGallery, model: str | None) -> _Spoken:
        hardest = shown.gallery.hardest
        names = [network.name for network in shown.gallery.models], list(hardest.models if hardest else ())
        places = [{k: name for k, name in enumerate(some) if model in (None, name)} for some in names]
        return cls(shown, places[0], places[1])

    def strips(self) -> list[Strip]:
        """A row of pictures per image and condition, and one of the hardest images."""
        rows = [strip for specimen in self._gallery.specimens if self.models and (strip := self._strip(specimen))]
        hardest = self._gallery.hardest
        pictures = [self._hard(image) for image in hardest.images] if hardest and self.hard_models else []
        if not hardest or not any(pictures):
            return rows
        count = len(hardest.models)
        line = f"By the mean over {count} classifiers of the confidence where they are wrong, under {hardest.method}."
        title = f"{self._shown.name}: images that most classifiers get wrong with confidence"
        return [*rows, Strip(title, [picture for picture in pictures if picture], [line])]

    def tables(self) -> list[BoardTable]:
        """Every answer: for the images a row per classifier, for the hardest ones a column."""
        made = [self._table()] if self.models and self._gallery.specimens else []
        return [*made, *([self._hard_table()] if self._gallery.hardest and self.hard_models else [])]

    def _strip(self, specimen: Specimen) -> Strip | None:
        """The views of an image under one condition, after the clean image; None for the clean image beside others."""
        same = [other for other in self._gallery.specimens if other.id == specimen.id]
        if specimen.condition == CLEAN and len(same) > 1:
            return None
        clean = [(CLEAN, other.shots[0]) for other in same if other.condition == CLEAN and other is not specimen]
        views = [*clean, *((shot.view, shot) for shot in specimen.shots)]
        shown = [self._picture(specimen, view, shot, self.models) for view, shot in views]
        name = self._gallery.class_name(specimen.label)
        methods = [
            f"{method}: {self._spell(specimen.methods[method], specimen.label)}" for method in self._gallery.methods
        ]
        line = f"Classifiers after each method: {'; '.join(methods)}." if methods else ""
        title = f"{self._shown.name}: {specimen.id}, class {name}, {specimen.condition}"
        return Strip(title, [picture for picture in shown if picture], [line] if line else [])

    def _spell(self, says: Sequence[Says], label: int) -> str:
        """Classes with their numbers of classifiers, in one line."""
        return ", ".join(self._classes([says[k] for k in self.models], label))

    def _picture(
        self, image: Specimen | Hard, view: str, shot: Shot, models: Iterable[int], more: Sequence[str] = ()
    ) -> Picture | None:
        content = self._shown.pictures.get(shot.pixels)
        if content is None:
            return None
        view = CORRUPTED if view == ORIGINAL and image.condition != CLEAN else view
        lines = [view, *more, *self._classes([shot.says[k] for k in models], image.label)]
        name = self._gallery.class_name(image.label)
        alt = f"{image.id}, class {name}, under {image.condition}, {view}"
        uri = f"data:image/webp;base64,{base64.b64encode(content).decode()}"
        return Picture(alt, uri, shot.width, shot.height, lines)

    def _classes(self, says: Sequence[Says], label: int) -> list[str]:
        """Classes, the most frequent first: ``7: 8 of 10, 97 %``; the mean is over the classifiers that give it."""
        by_class: dict[int, list[float]] = {}
        for answer, probability in says:
            by_class.setdefault(answer, []).append(probability)
        ordered = sorted(by_class.items(), key=lambda item: (-len(item[1]), item[0]))
        lines = []
        for answer, probabilities in ordered:
            mark = "" if answer == label else "✗ "
            count = f" {len(probabilities)} of {len(says)}," if len(says) > 1 else ""
            mean = sum(probabilities) / len(probabilities)
            lines.append(f"{mark}{self._gallery.class_name(answer)}:{count} {100 * mean:.0f} %")
        return lines

    def _hard(self, image: Hard) -> Picture | None:
        total = len(self._gallery.hardest.models) if self._gallery.hardest else 0
        more = [f"class {self._gallery.class_name(image.label)}, {image.wrong} of {total} wrong"]
        return self._picture(image, f"{image.id}, {image.condition}", image.shot, self.hard_models, more)

    def _table(self) -> BoardTable:
        gallery = self._gallery
        views = list(dict.fromkeys(shot.view for specimen in gallery.specimens for shot in specimen.shots))
        shown = ["clean or corrupted" if view == ORIGINAL else view for view in views]
        rows = []
        for specimen in gallery.specimens:
            by_view = {shot.view: shot.says for shot in specimen.shots}
            answers = [*(by_view.get(view) for view in views), *(specimen.methods[name] for name in gallery.methods)]
            first = [specimen.id, gallery.class_name(specimen.label), specimen.condition]
            for k, model in self.models.items():
                cells = [self._cell(says[k], specimen.label) if says else Cell("") for says in answers]
                rows.append(BoardRow([*map(Cell, first), Cell(model), *cells]))
        header = ["image", "class", "condition", "classifier", *shown, *(f"by {name}" for name in gallery.methods)]
        id = slug("gallery", self._shown.name, "words")
        return BoardTable(id, f"{self._shown.name}: what each classifier says", header, rows, WORDS, names=len(header))

    def _hard_table(self) -> BoardTable:
        hardest = self._gallery.hardest
        assert hardest is not None
        header = ["image", "class", "condition", "confidence where wrong", *self.hard_models.values()]
        rows = []
        for image in hardest.images:
            cells = [self._cell(image.shot.says[k], image.label) for k in self.hard_models]
            first = [Cell(image.id), Cell(self._gallery.class_name(image.label)), Cell(image.condition)]
            rows.append(BoardRow([*first, Cell(f"{image.confidence:.3f}", image.confidence), *cells]))
        id = slug("gallery", self._shown.name, "hardest")
        caption = f"{WORDS} From records of the suite under {hardest.method}."
        title = f"{self._shown.name}: what each classifier says of the hardest images"
        return BoardTable(id, title, header, rows, caption, names=3)

    def _cell(self, says: Says, label: int) -> Cell:
        answer, probability = says
        mark = "" if answer == label else "✗ "
        return Cell(f"{mark}{self._gallery.class_name(answer)} {100 * probability:.0f} %")
