"""Signed notes and checkpoints follow the C2SP specifications."""

import pytest

from domain.store.errors import BadNote
from domain.store.tlog.signed_note import (
    Checkpoint,
    Signer,
    Verifier,
    open_note,
    sign_note,
    split_note,
)

# The example of the signed-note specification (c2sp.org/signed-note).
SPEC_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ON"
    "ncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# The example of Go's golang.org/x/mod/sumdb/note.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupL"
    "Lr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

SIGNER = Signer("certledger.example/omc", bytes(range(32)))


@pytest.mark.parametrize(("vkey", "note"), [(SPEC_VKEY, SPEC_NOTE), (GO_VKEY, GO_NOTE)])
def test_published_example_notes_open_and_their_vkeys_round_trip(vkey: str, note: str) -> None:
    verifier = Verifier.from_vkey(vkey)
    text, signed = open_note(note, [verifier])
    assert text == note.rpartition("\n\n")[0] + "\n"
    assert signed == (verifier,)
    assert verifier.vkey == vkey


def test_a_signed_note_opens_with_the_vkey() -> None:
    note = sign_note("a text\n", SIGNER)
    verifier = Verifier.from_vkey(SIGNER.verifier.vkey)
    assert open_note(note, [verifier]) == ("a text\n", (verifier,))


def test_opening_a_note_returns_the_trusted_signers() -> None:
    witness = Signer("witness.example/one", b"w" * 32)
    stranger = Signer("stranger.example", b"s" * 32)
    note = sign_note("a text\n", stranger, SIGNER, witness)
    _, signed = open_note(note, [SIGNER.verifier, witness.verifier])
    assert signed == (SIGNER.verifier, witness.verifier)
    assert len(split_note(note)[1]) == 3


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda note: note.replace("example message", "examplE message"), id="text"),
        pytest.param(lambda note: note.replace("yaQM=", "yaQI="), id="signature"),
        pytest.param(lambda note: note.replace("Uw2Q", "Vw2Q"), id="key-id"),
        pytest.param(lambda note: note.replace("example.com", "example.org"), id="name"),
        pytest.param(lambda note: note.rstrip("\n"), id="no-last-newline"),
        pytest.param(lambda note: note.replace("—", "-"), id="hyphen"),
        pytest.param(lambda note: note.replace("\n\n", "\n"), id="no-empty-line"),
        pytest.param(lambda note: note.replace("This", "Th\tis"), id="control-character"),
        pytest.param(lambda note: note.replace(" Uw2Q", " !!!!"), id="not-base64"),
        pytest.param(lambda note: note[: note.index("Uw2Q")] + "Uw2Q\n", id="too-short"),
    ],
)
def test_a_changed_note_does_not_open(change) -> None:
    with pytest.raises(BadNote):
        open_note(change(SPEC_NOTE), [Verifier.from_vkey(SPEC_VKEY)])


def test_an_invalid_signature_of_a_trusted_key_rejects_the_note() -> None:
    good = sign_note("a text\n", SIGNER)
    other = Signer("other.example", b"o" * 32)
    spoilt = good + other.signature_line("another text\n")
    with pytest.raises(BadNote):
        open_note(spoilt, [SIGNER.verifier, other.verifier])
    assert open_note(spoilt, [SIGNER.verifier])[0] == "a text\n"


@pytest.mark.parametrize("name", ["", "with space", "with+plus", "wide\u3000space", "line\nbreak"])
def test_an_invalid_key_name_is_refused(name: str) -> None:
    with pytest.raises(BadNote):
        Signer(name, b"n" * 32)


@pytest.mark.parametrize(
    "vkey",
    [
        "example.com/foo",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+BekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+Aeky",
    ],
)
def test_a_malformed_vkey_is_refused(vkey: str) -> None:
    with pytest.raises(BadNote):
        Verifier.from_vkey(vkey)


def test_a_checkpoint_has_three_lines_and_round_trips() -> None:
    checkpoint = Checkpoint("certledger.example/omc", 12, b"r" * 32)
    assert checkpoint.text == (
        "certledger.example/omc\n12\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n"
    )
    assert Checkpoint.parse(checkpoint.text) == checkpoint
    assert Checkpoint.parse(checkpoint.text + "an extension\n") == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n12\n",
        "origin\n012\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
        "origin\n-1\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
        "origin\n١٢\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
        "origin\n12\ncnJy\n",
        "\n12\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(BadNote):
        Checkpoint.parse(text)
