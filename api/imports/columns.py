"""The columns of files that are imported: how they are called, read, and told of.

Reading order: Column, Kind, fold_title, then the columns that many kinds share.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from api.imports import cell_parsers as v
from api.imports import qualification_parser as claims
from api.imports import row_commands as make
from api.imports.cell_parsers import Parser

Maker = Callable[[dict[str, Any], "make.RowContext"], "make.RowCommand"]


class Column(NamedTuple):
    """One column. fields: where its value stands in the command, if under another name.

    personal: a fault of its cell is told without anything that could show the cell.
    """

    name: str
    titles: tuple[str, ...] = ()
    parse: Parser = v.text
    required: bool = False
    personal: bool = False
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowType:
    """One kind of file. operation: the row of `api.auth.permissions.ACCESS` that says who may do
    it.

    own: candidates do this themselves, so that a login that is no staff is one of them.
    """

    name: str
    titles: tuple[str, ...]
    operation: str
    make: Maker
    columns: tuple[Column, ...]
    own: bool = False
    index: dict[str, Column] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for column in (*COMMON, *self.columns):
            for title in (column.name, *column.titles):
                self.index[fold_title(title)] = column

    def column_of(self, title: str) -> Column | None:
        """The column that a header means."""
        return self.index.get(fold_title(title))


def fold_title(title: str) -> str:
    """A header or a name without what people vary: width, case, spaces, underscores, hyphens."""
    text = unicodedata.normalize("NFKC", title).casefold()
    return "".join(c for c in text if not c.isspace() and c not in "_-*:")


ID = Column("id", ("编号", "序号", "row id"), required=True, fields=make.OWN_IDS)
COMMON = (
    ID,
    Column("occurred_at", ("发生时间", "办理时间", "time"), v.moment, required=True),
    Column("by", ("经办人", "操作人", "actor"), required=True),
    Column("role", ("角色",), v.role),
    Column("organisation", ("机构", "所属机构", "organization")),
    Column("on_behalf_of", ("代办对象",)),
)
"""Columns that every kind has."""

APPLICATION = Column("application_id", ("报考编号", "申请编号"), required=True)
PERSON = Column("person_id", ("人员编号", "考生编号"), required=True)
SESSION = Column("session_id", ("考试场次", "场次编号"), required=True)
NOTICE = Column("notice_id", ("公示编号",), required=True)
OCCUPATION = Column("occupation", ("职业编码", "职业"), required=True)
LEVEL = Column("level", ("等级", "职业技能等级"), v.level, required=True)
REASON = Column("reason", ("原因", "事由"))
DOCUMENT = (
    Column("document_type", ("证件类型",), v.document_type, required=True),
    Column("document_number", ("证件号码", "身份证号"), required=True, personal=True),
    Column("name", ("姓名",), required=True, personal=True),
)


def claims_column(name: str, title: str) -> Column:
    return Column(name, (title,), lambda cell: claims.claims(name, cell), personal=True)


def required(column: Column) -> Column:
    return column._replace(required=True)
