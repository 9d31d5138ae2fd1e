// Verifies a receipt's place in the log of execgate, and that one checkpoint is the beginning of another, with the
// packages of Go's own checksum database (golang.org/x/mod/sumdb).
//
//	verify-log place KEY PROOF LEAF        a .tlog-proof file, and the leaf in hexadecimal
//	verify-log older KEY OLDER CONSISTENCY an older checkpoint, and what GET /log/consistency/{size} gave
package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func fail(reason interface{}) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(1)
}

func read(path string) string {
	bytes, err := os.ReadFile(path)
	if err != nil {
		fail(err)
	}
	return string(bytes)
}

func hash(line string) tlog.Hash {
	var hash tlog.Hash
	bytes, err := base64.StdEncoding.DecodeString(line)
	if err != nil || len(bytes) != len(hash) {
		fail("no hash: " + line)
	}
	copy(hash[:], bytes)
	return hash
}

func number(text string) int64 {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		fail(err)
	}
	return number
}

// open checks the signature of a checkpoint, and gives its size and root.
func open(verifier note.Verifier, text string) (int64, tlog.Hash) {
	signed, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		fail(err)
	}
	lines := strings.Split(signed.Text, "\n")
	if lines[0] != verifier.Name() {
		fail("the checkpoint is of another log")
	}
	return number(lines[1]), hash(lines[2])
}

// parted gives the lines before the checkpoint, and the checkpoint.
func parted(text string) ([]string, string) {
	head, checkpoint, found := strings.Cut(text, "\n\n")
	if !found {
		fail("no checkpoint")
	}
	return strings.Split(head, "\n"), checkpoint
}

func hashes(lines []string) []tlog.Hash {
	var hashes []tlog.Hash
	for _, line := range lines {
		hashes = append(hashes, hash(line))
	}
	return hashes
}

func main() {
	if len(os.Args) != 5 {
		fail("verify-log place KEY PROOF LEAF | verify-log older KEY OLDER CONSISTENCY")
	}
	verifier, err := note.NewVerifier(os.Args[2])
	if err != nil {
		fail(err)
	}
	switch os.Args[1] {
	case "place":
		lines, checkpoint := parted(read(os.Args[3]))
		if len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
			fail("no proof")
		}
		entry, err := hex.DecodeString(os.Args[4])
		if err != nil {
			fail(err)
		}
		size, root := open(verifier, checkpoint)
		index := number(strings.TrimPrefix(lines[1], "index "))
		if err := tlog.CheckRecord(hashes(lines[2:]), size, root, index, tlog.RecordHash(entry)); err != nil {
			fail(err)
		}
		fmt.Printf("entry %d of %d\n", index, size)
	case "older":
		older, olderRoot := open(verifier, read(os.Args[3]))
		lines, checkpoint := parted(read(os.Args[4]))
		if lines[0] != fmt.Sprintf("old %d", older) {
			fail("the proof starts elsewhere")
		}
		newer, newerRoot := open(verifier, checkpoint)
		if err := tlog.CheckTree(hashes(lines[1:]), newer, newerRoot, older, olderRoot); err != nil {
			fail(err)
		}
		fmt.Printf("%d are the first of %d\n", older, newer)
	default:
		fail("place or older?")
	}
}
