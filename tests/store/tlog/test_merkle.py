"""The Merkle tree agrees with RFC 6962, with published vectors, and with itself."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.store.tlog.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    subtree_of,
    verify_consistency,
    verify_inclusion,
)

VECTORS = Path(__file__).parents[2] / "vectors"


def cases(name: str) -> list:
    return [
        pytest.param(case, id=case["source"].removesuffix(".json"))
        for case in json.loads((VECTORS / name).read_text())
    ]


def hashes(encoded: list[str] | None) -> list[bytes]:
    return [base64.b64decode(one) for one in encoded or []]


def recursive_root(leaves: list[bytes]) -> bytes:
    """The definition in RFC 6962 2.1."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(recursive_root(leaves[:k]), recursive_root(leaves[k:]))


LEAVES = [leaf_hash(b"%d" % number) for number in range(70)]


@pytest.mark.parametrize("case", cases("rfc6962-inclusion.json"))
def test_inclusion_proofs_of_the_published_vectors_verify_as_stated(case: dict) -> None:
    good = verify_inclusion(
        case["leafIdx"],
        case["treeSize"],
        base64.b64decode(case["leafHash"] or ""),
        hashes(case["proof"]),
        base64.b64decode(case["root"] or ""),
    )
    assert good is not case["wantErr"]


@pytest.mark.parametrize("case", cases("rfc6962-consistency.json"))
def test_consistency_proofs_of_the_published_vectors_verify_as_stated(case: dict) -> None:
    good = verify_consistency(
        case["size1"],
        case["size2"],
        base64.b64decode(case["root1"] or ""),
        base64.b64decode(case["root2"] or ""),
        hashes(case["proof"]),
    )
    assert good is not case["wantErr"]


@pytest.mark.parametrize("size", range(71))
def test_the_root_equals_the_definition_of_the_rfc(size: int) -> None:
    assert root(LEAVES[:size]) == recursive_root(LEAVES[:size])


@given(st.data())
def test_an_inclusion_proof_verifies_its_leaf_and_no_other(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, len(LEAVES) - 1).filter(lambda i: i != index))
    proof = inclusion_proof(index, size, subtree_of(LEAVES))
    top = root(LEAVES[:size])
    assert verify_inclusion(index, size, LEAVES[index], proof, top)
    assert not verify_inclusion(index, size, LEAVES[other], proof, top)
    assert not verify_inclusion(other, size, LEAVES[index], proof, top)


@given(st.data())
def test_a_consistency_proof_verifies_for_every_smaller_tree(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    old = data.draw(st.integers(1, size))
    proof = consistency_proof(old, size, subtree_of(LEAVES))
    old_root, new_root = root(LEAVES[:old]), root(LEAVES[:size])
    assert verify_consistency(old, size, old_root, new_root, proof)
    forked = [leaf_hash(b"another"), *LEAVES[1:size]]
    assert not verify_consistency(old, size, old_root, root(forked), proof)
    if old < size:
        assert not verify_consistency(old, size, root(forked[:old]), new_root, proof)


def test_a_copy_grows_independently() -> None:
    tree = CompactRange()
    tree.extend(LEAVES[:5])
    other = tree.copy()
    other.extend(LEAVES[5:9])
    assert tree.root() == root(LEAVES[:5])
    assert other.root() == root(LEAVES[:9])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_a_leaf_beyond_the_tree_has_no_inclusion_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError):
        inclusion_proof(index, size, subtree_of(LEAVES))


@pytest.mark.parametrize(("old", "size"), [(0, 3), (4, 3)])
def test_a_smaller_or_empty_tree_has_no_consistency_proof(old: int, size: int) -> None:
    with pytest.raises(ValueError):
        consistency_proof(old, size, subtree_of(LEAVES))


@given(st.lists(st.integers(0, 40), max_size=6))
def test_leaves_may_be_added_in_portions_of_any_size(portions: list[int]) -> None:
    tree, seen = CompactRange(), []
    for count in portions:
        leaves = [leaf_hash(b"%d" % (len(seen) + number)) for number in range(count)]
        tree.extend(leaves)
        seen += leaves
        assert (tree.size, tree.root()) == (len(seen), recursive_root(seen))


@given(st.integers(0, 4), st.integers(0, 16))
def test_a_tree_grows_by_an_aligned_tree(whole: int, rest: int) -> None:
    first, second = LEAVES[: 16 * whole], LEAVES[16 * whole : 16 * whole + rest]
    tree, other = CompactRange(), CompactRange()
    tree.extend(first)
    other.extend(second)
    tree.grow(other)
    assert (tree.size, tree.root()) == (len(first + second), recursive_root(first + second))


def test_a_tree_does_not_grow_by_an_unaligned_tree() -> None:
    tree, other = CompactRange(), CompactRange()
    tree.extend(LEAVES[:3])
    other.extend(LEAVES[3:5])
    with pytest.raises(ValueError, match="2 leaves after 3"):
        tree.grow(other)
