"""Verifies a log, its cosigned checkpoint and proofs with `aics-tlog`, which shares no code with the gateway:
tlog.py LOG LOG_KEY PROOFS WITNESS_KEY…

PROOFS holds INDEX.tlog-proof with INDEX.entry, and OLD-NEW.growth: the two checkpoints and, after them, the hashes. Prints one JSON object that counts
what was verified; the exit code is 1 if anything is not as it was signed.
"""

import base64
import json
import shutil
import sys
import tempfile
from pathlib import Path

from aics_tlog import (
    FileSystemTileReader,
    VerifiedTileReader,
    audit_tiles,
    consistency_proof_from_tiles,
    inclusion_proof_from_tiles,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    tree_root_from_tiles,
    verify_checkpoint,
    verify_consistency,
    verify_leaf_inclusion,
)


def opened(text, key, witnesses=()):
    """A checkpoint that the log signed and each of these witnesses cosigned."""
    note = parse_note(text)
    result = verify_checkpoint(note, key, list(witnesses), quorum=len(witnesses), expected_origin=key.name)
    assert result.ok, result
    return parse_checkpoint(note.text)


def inclusion(path, key, tiles):
    """An entry is where its proof says, and the proof is the one that follows from the tiles."""
    proof, checkpoint = path.read_text().split("\n\n", 1)
    header, index, *hashes = proof.split("\n")
    assert header == "c2sp.org/tlog-proof@v1", header
    index = int(index.removeprefix("index "))
    hashes = [base64.b64decode(line, validate=True) for line in hashes]
    signed, entry = opened(checkpoint, key), path.with_suffix(".entry").read_bytes()
    assert verify_leaf_inclusion(entry, index, signed.size, hashes, signed.root)
    assert hashes == inclusion_proof_from_tiles(tiles, index, signed.size)
    assert tiles.entry(index) == entry
    assert not verify_leaf_inclusion(entry + b" ", index, signed.size, hashes, signed.root)
    assert not verify_leaf_inclusion(entry, index + 1, signed.size, hashes, signed.root)


def growth(path, key, tiles):
    """One checkpoint grew from another, and the proof is the one that follows from the tiles."""
    texts = path.read_text().split("\n---\n")
    old, new = (opened(text, key) for text in texts[:2])
    hashes = [base64.b64decode(line, validate=True) for line in texts[2].split()]
    assert verify_consistency(old.size, new.size, old.root, new.root, hashes)
    assert hashes == consistency_proof_from_tiles(tiles, old.size, new.size)
    assert not verify_consistency(old.size, new.size, new.root, new.root, hashes)


def tampered(log, signed):
    """A copy of the log with one byte of a file changed does not verify."""
    found = 0
    for name in ["tile/entries/001", "tile/0/002", "tile/1/000"]:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "log"
            shutil.copytree(log, copy)
            data = bytearray((copy / name).read_bytes())
            data[len(data) // 2] ^= 1
            (copy / name).write_bytes(data)
            try:
                audit_tiles(FileSystemTileReader(copy), signed.size, signed.root)
            except Exception:
                found += 1
    return found


def main():
    log, proofs = Path(sys.argv[1]), Path(sys.argv[3])
    key, witnesses = parse_vkey(sys.argv[2]), [parse_vkey(text) for text in sys.argv[4:]]
    signed = opened((log / "checkpoint").read_text(), key)
    seen = opened((log / "checkpoint.witnessed").read_text(), key, witnesses)
    reader = FileSystemTileReader(log)
    assert (seen.size, seen.root) == (signed.size, signed.root)
    assert tree_root_from_tiles(reader, signed.size) == signed.root
    report = audit_tiles(reader, signed.size, signed.root)
    tiles = VerifiedTileReader(reader, signed.size, signed.root)
    counts = {"entries": signed.size, "tiles": report.tiles, "bundles": report.bundles, "witnesses": len(witnesses)}
    for name, check in [("inclusion", inclusion), ("growth", growth)]:
        paths = sorted(proofs.glob("*.tlog-proof" if check is inclusion else "*.growth"))
        for path in paths:
            check(path, key, tiles)
        counts[name] = len(paths)
    counts["tampered"] = tampered(log, signed)
    print(json.dumps(counts))


main()
