// Judges a log with Go's own packages for checksum databases: the signed note, the root over the
// events, proofs that events are in it, and that it continues an older tree.
//
// Usage: sumdb VKEY NOTE EVENTS [OLD_SIZE OLD_ROOT]. EVENTS holds each envelope after its length,
// four bytes, big-endian; OLD_ROOT is in base64. Prints one line; exit code 1 for the first fault.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error, what string) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		os.Exit(1)
	}
}

func hash(text string) tlog.Hash {
	var found tlog.Hash
	decoded, err := base64.StdEncoding.DecodeString(text)
	check(err, "hash")
	copy(found[:], decoded)
	return found
}

func main() {
	verifier, err := note.NewVerifier(os.Args[1])
	check(err, "vkey")
	text, err := os.ReadFile(os.Args[2])
	check(err, "note")
	opened, err := note.Open(text, note.VerifierList(verifier))
	check(err, "note")
	lines := strings.Split(opened.Text, "\n")
	if lines[0] != verifier.Name() {
		check(fmt.Errorf("%s is not %s", lines[0], verifier.Name()), "origin")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err, "size")
	root := hash(lines[2])

	events, err := os.ReadFile(os.Args[3])
	check(err, "events")
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = stored[index]
		}
		return found, nil
	})
	var leaves []tlog.Hash
	for n := int64(0); n < size; n++ {
		length := binary.BigEndian.Uint32(events)
		envelope := events[4 : 4+length]
		events = events[4+length:]
		leaves = append(leaves, tlog.RecordHash(envelope))
		hashes, err := tlog.StoredHashes(n, envelope, reader)
		check(err, "stored hashes")
		stored = append(stored, hashes...)
	}
	found, err := tlog.TreeHash(size, reader)
	check(err, "tree")
	if found != root {
		check(fmt.Errorf("%v is not %v", found, root), "root")
	}
	for n := int64(0); n < size; n++ {
		proof, err := tlog.ProveRecord(size, n, reader)
		check(err, "record proof")
		check(tlog.CheckRecord(proof, size, root, n, leaves[n]), "record")
	}
	if len(os.Args) > 5 {
		old, err := strconv.ParseInt(os.Args[4], 10, 64)
		check(err, "old size")
		proof, err := tlog.ProveTree(size, old, reader)
		check(err, "tree proof")
		check(tlog.CheckTree(proof, size, root, old, hash(os.Args[5])), "older tree")
	}
	fmt.Printf("%s: %d events\n", lines[0], size)
}
