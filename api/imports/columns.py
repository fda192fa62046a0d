"""Row types of an import, and the columns that many of them share.

Reading order: RowType, the common columns of every row, then the shared columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from api.files.tables import Column as Column
from api.files.tables import Schema, fold_of
from api.imports import cell_parsers as v
from api.imports import qualification_parser as claims
from api.imports.row_commands import RowCommand, RowContext
from domain.actors import Role
from domain.command_spec import CommandSpec

Builder = Callable[[dict[str, Any], RowContext], RowCommand]
"""Makes the command of a row from its values by column."""

fold_title = fold_of(r"\s_\-*:")
"""The fold of import headers and file names: spaces, underscores and hyphens never count."""


@dataclass(frozen=True)
class RowType:
    """One type of row, and of file.

    name, titles: how the name of such a file begins. specs: the commands a row may become, all for
    the same roles. columns: in addition to COMMON. id_field: the field of the command that the
    row's own id fills. build: makes the command; None: by naming its values. own: candidates do it
    themselves, so a login missing from the staff list is taken for a candidate.
    """

    name: str
    titles: tuple[str, ...]
    specs: tuple[CommandSpec[Any], ...]
    columns: tuple[Column, ...]
    id_field: str | None = None
    build: Builder | None = None
    own: bool = False
    schema: Schema = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", Schema((*COMMON, *self.columns), fold_title))

    @property
    def roles(self) -> frozenset[Role]:
        """Who may do it."""
        return self.specs[0].roles

    def command(self, values: dict[str, Any], row: RowContext) -> RowCommand:
        """The command of a row. Raises: CellFault, ValidationError, LedgerError, OSError."""
        if self.build is not None:
            return self.build(values, row)
        own_id = {} if self.id_field is None else {self.id_field: row.id}
        return RowCommand(self.specs[0].command(**own_id, **values))

    def column_of_field(self, field: str) -> Column | None:
        """The column that fills a field of the command."""
        if field == self.id_field:
            return ID
        named = (c for c in (*self.columns, ID) if field in (c.name, *c.fields))
        return next(named, None)


ID = Column("id", ("编号", "序号", "row id"), required=True)
OCCURRED_AT = Column("occurred_at", ("发生时间", "办理时间", "time"), v.moment, required=True)
BY = Column("by", ("经办人", "操作人", "actor"), required=True)
COMMON = (
    ID,
    OCCURRED_AT,
    BY,
    Column("role", ("角色",), v.role),
    Column("organisation", ("机构", "所属机构", "organization")),
    Column("on_behalf_of", ("代办对象",)),
)
"""Columns of every row type."""

APPLICATION = Column("application_id", ("报考编号", "申请编号"), required=True)
PERSON = Column("person_id", ("人员编号", "考生编号"), required=True)
SESSION = Column("session_id", ("考试场次", "场次编号"), required=True)
NOTICE = Column("notice_id", ("公示编号",), required=True)
OCCUPATION = Column("occupation", ("职业编码", "职业"), required=True)
LEVEL = Column("level", ("等级", "职业技能等级"), v.level, required=True)
REASON = Column("reason", ("原因", "事由"))
AMOUNTS = tuple(
    column
    for name, title in (("certification_fee", "认证费用"), ("study_material_fee", "学员资料"))
    for column in (
        Column(f"{name}_yuan", (f"{title}(元)", title), v.yuan, fields=(f"{name}_fen", "lines")),
        Column(f"{name}_fen", (f"{title}(分)",), v.whole),
    )
)
"""The two components of the fee, in yuan or in fen."""
DOCUMENT = (
    Column("document_type", ("证件类型",), v.document_type, required=True),
    Column("document_number", ("证件号码", "身份证号"), required=True, personal=True),
    Column("name", ("姓名",), required=True, personal=True),
)


def claims_column(name: str, title: str) -> Column:
    """The column of one field of the stated qualifications."""
    return Column(name, (title,), lambda cell: claims.parse_entries(name, cell), personal=True)


def required(column: Column) -> Column:
    """The same column, required."""
    return column._replace(required=True)
