"""Province-level codes that begin certificate and citizen numbers.

They are data, not a pattern: new codes appear (330113 临平, 330114 钱塘 in 2021), and a hard-coded
rule would refuse real people until the next release. Only the first two digits are checked; the
county after them is advisory.
"""

import json
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict


class Province(BaseModel):
    """One province-level code of GB/T 2260 (省级行政区划代码).

    code: two digits. name: Chinese name.
    certificate: may be places 6-7 of a national certificate number.
    resident_id: may begin the number of a 居民身份证.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    name: str
    certificate: bool
    resident_id: bool


@cache
def provinces() -> dict[str, Province]:
    """Every known province by its two-digit code; the dict is shared, do not modify it."""
    path = resources.files("domain") / "data" / "provinces_cn.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["provinces"]
    return {row["code"]: Province(**row) for row in rows}
