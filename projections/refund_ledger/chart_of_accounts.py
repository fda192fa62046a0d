"""The chart of accounts of a refund ledger, as data.

A sub-ledger: it feeds the general ledger and uses finance's account codes; the sub-codes are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from domain.events import Component, Provider

Kind = Literal["asset", "liability", "income", "expense"]


@dataclass(frozen=True, slots=True)
class Account:
    """An account. beancount: its name in exports that plain-text tools read."""

    code: str
    name: str
    kind: Kind
    beancount: str


BANK = "1002"
ADVANCE: Mapping[str, str] = {
    Component.CERTIFICATION_FEE: "2203.01",
    Component.STUDY_MATERIAL: "2203.02",
}
"""预收账款: money for an application that may still fail, by component."""
CONTRACT: Mapping[str, str] = {
    Component.CERTIFICATION_FEE: "2205.01",
    Component.STUDY_MATERIAL: "2205.02",
}
"""合同负债: a service owed once 报考成功, by component."""
REVENUE: Mapping[str, str] = {
    Component.CERTIFICATION_FEE: "6001.01",
    Component.STUDY_MATERIAL: "6001.02",
}
VAT = "2221"
PAYABLE = "2241.01"
"""应付退款: refunds owed to candidates."""

_PROVIDER: Mapping[str, str] = {
    Provider.WECHAT: "1012.01",
    Provider.ALIPAY: "1012.02",
    Provider.BANK: "1012.03",
}


def clearing(provider: str) -> str:
    """待清算: what a provider collected or paid by our records, until its bill confirms it."""
    return f"{_PROVIDER[provider]}.1"


def balance(provider: str) -> str:
    """账户余额: our balance by the provider's fund bill."""
    return f"{_PROVIDER[provider]}.2"


def transit(provider: str) -> str:
    """退款中间户: refunds that a provider accepted and has not paid yet."""
    return f"{_PROVIDER[provider]}.3"


def _of_provider(provider: Provider, name: str, english: str) -> tuple[Account, ...]:
    return tuple(
        Account(code(provider), f"其他货币资金-{name}-{part}", "asset",
                f"Assets:PSP:{english}:{english_part}")
        for code, part, english_part in (
            (clearing, "待清算", "Clearing"),
            (balance, "账户余额", "Balance"),
            (transit, "退款中间户", "RefundTransit"),
        )
    )  # fmt: skip


ACCOUNTS: dict[str, Account] = {
    account.code: account
    for account in (
        Account(BANK, "银行存款", "asset", "Assets:Bank"),
        *_of_provider(Provider.WECHAT, "微信", "WeChat"),
        *_of_provider(Provider.ALIPAY, "支付宝", "Alipay"),
        *_of_provider(Provider.BANK, "银行转账", "Transfer"),
        Account("1221.09", "其他应收款-短款待查", "asset", "Assets:Suspense:Short"),
        Account("2203.01", "预收账款-认证费", "liability", "Liabilities:Advance:Exam"),
        Account("2203.02", "预收账款-学习资料", "liability", "Liabilities:Advance:Material"),
        Account("2205.01", "合同负债-认证费", "liability", "Liabilities:Contract:Exam"),
        Account("2205.02", "合同负债-学习资料", "liability", "Liabilities:Contract:Material"),
        Account(VAT, "应交税费-增值税", "liability", "Liabilities:VAT"),
        Account(PAYABLE, "其他应付款-应付退款", "liability", "Liabilities:RefundPayable"),
        Account("2241.09", "其他应付款-长款挂账", "liability", "Liabilities:Suspense:Over"),
        Account("6001.01", "主营业务收入-认证费", "income", "Income:Exam"),
        Account("6001.02", "主营业务收入-学习资料", "income", "Income:Material"),
        Account("6301", "营业外收入", "income", "Income:Adjust"),
        Account("6603.01", "财务费用-手续费", "expense", "Expenses:PSPFee"),
        Account("6711", "营业外支出", "expense", "Expenses:Adjust"),
    )
}
"""Code -> account, in order of code, including those that only a matched bill moves."""
