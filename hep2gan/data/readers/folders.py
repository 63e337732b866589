"""Any set of cells in folders: class folders, also in train/val/test, and masks beside or apart."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hep2gan.data.patterns import COUNTS, ICPR2016, canonical_class
from hep2gan.data.readers.icpr2016_advice import OFFICIAL_TABLE
from hep2gan.data.readers.labelled import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    FolderTree,
    LabelTable,
    Pairs,
    check_classes,
    describe_classes,
    find_label_table,
    list_tree,
    pair_masks,
    require_cells,
    rows_by_image,
)
from hep2gan.data.readers.manifest import NAME as MANIFEST
from hep2gan.data.readers.source import (
    PARTS,
    CellError,
    DataSource,
    RawCell,
    RawCells,
    cell_id,
    ids_of_paths,
    name_ids,
    natural_key,
)
from hep2gan.errors import Hep2ganError, pluralize

_LAYOUTS = (
    "a set lies in one folder per class, these perhaps in train, val and test or in images, beside"
    " masks"
)
_MANIFEST = "write a manifest.csv headed image,label and pack it with data=manifest"
_PUBLISHED = {canonical_class(p.name): count for p, count in zip(ICPR2016, COUNTS, strict=True)}


class FoldersSource(DataSource):
    """data=folders: any cells in folders named after their classes; its keys: `DataSource`."""

    def read(self, workers: int | None = None) -> RawCells:
        """Read labels and paths of the cells below the folder `root`; see `DataSource.read`."""
        return read_folders(self.folder, self.masks is True)


def read_folders(root: Path, with_masks: bool = True) -> RawCells:
    """Read a set whose folders say what its images are, in the order of the cells' ids.

    Folders are recognised by their names: train, val, test and the like are the set's own split;
    images and masks hold what they say; all others are classes, with any names. Without folders of
    classes, a table with the columns image and label names them. Masks lie beside their images, as
    `1_mask.png`, or at the same place in a folder masks; a set without any is read without masks.

    Args:
        root: The folder of the set.
        with_masks: Whether to look for masks.

    Returns:
        The cells.

    Raises:
        Hep2ganError: The folders follow several layouts or none, classes or masks do not fit, or
            the images are fields of cells.
    """
    root = Path(root)
    tree = list_tree(root)
    layout = _find_layout(tree)
    pairs = pair_masks(tree, with_masks)
    require_cells(_first_of_each(tree))
    ids = _ids(root, list(tree.images))
    table, problems = None, list[CellError]()
    labels = {image: place.label for image, place in tree.images.items()}
    if "class" not in layout:
        table = _require_table(tree)
        rows, problems = rows_by_image(table, list(tree.images))
        labels = {image: row.field(table.label) for image, row in rows.items()}
    names = name_ids(labels.values())
    check_classes(str(table.path if table else root), list(names))
    _check_parts(tree, labels)
    cells = [
        RawCell(
            ids[image],
            image,
            pairs.masks[image],
            names[label],
            part=PARTS[tree.images[image].split.casefold()],
        )
        for image, label in labels.items()
        if image in pairs.masks
    ]
    return RawCells(
        source=f"{root} ({_describe(tree, pairs, table)})",
        classes=tuple(names),
        cells=sorted(cells, key=lambda cell: natural_key(cell.id)),
        published_counts=_published_counts(list(names), cells),
        problems=(*pairs.errors(ids), *problems),
        notes=(
            *([f"left out: {tree.others}"] if tree.others else []),
            *describe_classes(list(names)),
        ),
    )


def _find_layout(tree: FolderTree) -> tuple[str, ...]:
    """Find the one layout that all images follow.

    Raises:
        Hep2ganError: There are several, it has folders below those of classes, or masks are missed.
    """
    root, layouts = tree.root, Counter(place.layout for place in tree.images.values())
    if root.name.casefold() in IMAGE_FOLDERS and any(
        (root.parent / name).is_dir() for name in MASK_FOLDERS
    ):
        raise Hep2ganError(
            f"{root} is the folder of images alone, and {root.parent} holds one of masks",
            "data.root is the folder of the set",
            f"set data.root={root.parent}",
        )
    if (other := _table_of_others(root)) is not None:
        table, reader = other
        raise Hep2ganError(
            f"{table} names the class of each image",
            f"data={reader} reads such a table, data=folders the names of folders",
            f"set data={reader}, or move the table away",
        )
    if len(layouts) > 1:
        examples = {place.layout: path for path, place in reversed(tree.images.items())}
        shown = "; ".join(
            f"{pluralize(number, 'image')} such as {examples[layout].relative_to(root)}"
            for layout, number in layouts.most_common(3)
        )
        raise Hep2ganError(
            f"{root} holds images in {len(layouts)} layouts: {shown}",
            "all images of a set lie at the same depth, in folders of the same kinds",
            "set data.root to the folder of one layout, or move the other images away",
        )
    (layout,) = layouts
    if layout.count("class") > 1 or layout.count("split") > 1:
        firsts = {path.relative_to(root).parts[0] for path in tree.images}
        deep = min(tree.images)
        fix = f"move the images up into the folders of their classes, or {_MANIFEST}"
        if len(firsts) == 1:
            fix = f"set data.root={root / firsts.pop()}"
        raise Hep2ganError(f"{deep} lies deeper than in the folder of a class", _LAYOUTS, fix)
    return layout


def _table_of_others(root: Path) -> tuple[Path, str] | None:
    """Return a table that another reader reads, and the name of that."""
    if (manifest := root / MANIFEST).is_file():
        return manifest, "manifest"
    if (table := find_label_table([root])) and "pattern" in table.columns:
        return table.path, "icpr2012"
    official = root / OFFICIAL_TABLE
    return (official, "icpr2016") if official.is_file() else None


def _require_table(tree: FolderTree) -> LabelTable:
    folders = sorted({tree.root, *(image.parent for image in tree.images)})
    if (table := find_label_table(folders)) is None:
        raise Hep2ganError(
            f"{tree.root} holds {pluralize(len(tree.images), 'image')} in no folder of a class and"
            " no table of classes",
            _LAYOUTS,
            f"put each image into a folder called as its class, or write {tree.root / 'labels.csv'}"
            " headed image,label with a line for each image",
        )
    return table


def _first_of_each(tree: FolderTree) -> list[Path]:
    return list({place: image for image, place in reversed(tree.images.items())}.values())


def _ids(root: Path, images: Sequence[Path]) -> dict[Path, str]:
    """Name cells after their files, or after their paths where two files have one name."""
    ids = [cell_id(image.name) for image in images]
    if len(set(ids)) < len(ids):
        ids = ids_of_paths([image.relative_to(root) for image in images])
    return dict(zip(images, ids, strict=True))


def _check_parts(tree: FolderTree, labels: dict[Path, str]) -> None:
    """Refuse classes that the set's own split tests and never trains."""
    classes: dict[int, set[str]] = {}
    for image, label in labels.items():
        part = PARTS[tree.images[image].split.casefold()]
        classes.setdefault(part, set()).add(label)
    trained = classes.get(0)
    strange = sorted(set().union(*classes.values()) - trained) if trained else []
    if trained and strange:
        raise Hep2ganError(
            f"classes outside the training folder that are not in it: {', '.join(strange)}"
            f" (it has {', '.join(sorted(trained))})",
            "training, validation and test have the same classes",
            "rename them as in the training folder, or move them away",
        )


def _published_counts(names: Sequence[str], cells: Sequence[RawCell]) -> tuple[int, ...] | None:
    """Return the published counts for a copy of the ICPR 2016 set, told by classes and number."""
    keys = [canonical_class(name) for name in names]
    is_copy = len(cells) == sum(COUNTS) and sorted(keys) == sorted(_PUBLISHED)
    return tuple(_PUBLISHED[key] for key in keys) if is_copy else None


def _describe(tree: FolderTree, pairs: Pairs, table: LabelTable | None) -> str:
    """Describe what was found and how it is read."""
    classes = f"classes from {table.path.name}" if table else "one folder per class"
    parts = Counter(place.split for place in tree.images.values() if place.split)
    order = sorted(parts, key=lambda name: PARTS[name.casefold()])
    split = ", ".join(f"{parts[name]:,} in {name}" for name in order)
    facts = [classes, f"its own split kept for split=given: {split}" if split else ""]
    return "; ".join([*filter(None, facts), _describe_masks(tree, pairs)])


def _describe_masks(tree: FolderTree, pairs: Pairs) -> str:
    masks = [mask for mask in pairs.masks.values() if mask is not None]
    if not masks:
        return "no masks"
    is_beside = all(image.parent == mask.parent for image, mask in pairs.masks.items() if mask)
    return "masks beside the images" if is_beside else "masks in folders of their own"
