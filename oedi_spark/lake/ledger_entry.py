"""What the attempts to append to one table of the ledger leave, and which of it is in vain.

An attempt may fail before the catalog was asked (the disk is full), be refused by it, or be in
doubt: it may have happened, or happen yet. What the first two wrote goes; what one in doubt wrote
stays until another has happened, or a later run finds the lease.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException

from oedi_spark.errors import OediSparkError
from oedi_spark.lake.catalog import CatalogLocation, commit_uuid
from oedi_spark.lake.faults import is_refusal, say_fault
from oedi_spark.lake.file_io import begun_files
from oedi_spark.lake.files import delete_uris
from oedi_spark.lake.owned import canonical, named_besides
from oedi_spark.lake.sweep import METADATA_FILE, sweep_metadata, sweep_run
from oedi_spark.log import get_logger

_log = get_logger(__name__)


@dataclass
class Entry:
    """The rows of one run on their way into one table.

    Args:
        catalog: The table's.
        place: As the run reached it.
        table: Its name, without the database.
        claim: What the entry's files are called by (`ledger_claim`).
    """

    catalog: Catalog
    place: CatalogLocation
    table: str
    claim: str
    tried: int = 0
    is_in_doubt: bool = False
    is_tidy: bool = True
    """Whether nothing is left that a later run should look for."""
    _names: int = 0
    _vain: list[str] = field(default_factory=list)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Note what one attempt leaves. One that succeeds leaves no earlier one in doubt."""
        self.tried += 1
        # An attempt in doubt keeps its manifests, so the next one's have other names.
        self._names += self.is_in_doubt
        with begun_files() as begun:
            try:
                yield
            except Exception as error:
                if _may_yet_happen(error, self.place.kind):
                    self.is_in_doubt = True
                else:
                    self._vain += begun
                raise
        self.is_in_doubt = False

    @property
    def manifests(self) -> uuid.UUID:
        """What the manifests of this attempt are called."""
        return commit_uuid(self.claim, self._names)

    @contextmanager
    def tidied(self) -> Iterator[None]:
        """Remove in the end what attempts wrote in vain. A fault of that is only logged."""
        failed = True
        try:
            yield
            failed = False
        finally:
            if failed or self.tried > 1:
                try:
                    self._tidy()
                    self.is_tidy = not self.is_in_doubt
                except Exception as error:  # noqa: BLE001 - the entry's own outcome stands
                    self.is_tidy = False
                    _log.warning("ledger not tidied", table=self.table, error=say_fault(error))

    def _tidy(self) -> None:
        identifier, named = (self.place.database, self.table), set[str]()
        if self.catalog.table_exists(identifier):
            table = self.catalog.load_table(identifier)
            if not self.is_in_doubt:
                sweep_run(table, self.claim, ())
                sweep_metadata(table)
            named = named_besides(table)
        # Of metadata that was begun, the catalog may have taken what came before the fault.
        vain = [uri for uri in self._vain if METADATA_FILE.fullmatch(uri.rsplit("/", 1)[1])]
        delete_uris((uri for uri in vain if canonical(uri) not in named), self.place.access)


def _may_yet_happen(error: Exception, catalog_kind: str) -> bool:
    """Whether a commit that failed so may have reached the catalog, or reach it later.

    A file that cannot be written or read is no question to the catalog. SQLite has answered by the
    time that it fails.
    """
    if isinstance(error, CommitFailedException | OediSparkError) or is_refusal(error):
        return False
    module = type(error).__module__
    if catalog_kind == "sql" and module.startswith("sqlalchemy."):
        return False
    is_network = isinstance(error, ConnectionError | TimeoutError) or module.startswith("requests.")
    return is_network or not isinstance(error, OSError)
