#!/bin/sh
# Builds main.go with the packages that Debian's Go brings, without a network: build.sh FOLDER makes FOLDER/verify-log.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
rm -rf xmod
cp -r "$(go env GOROOT)/src/cmd/vendor/golang.org/x/mod" xmod
printf 'module golang.org/x/mod\n\ngo 1.17\n' > xmod/go.mod
# Go's own copy names the package that is in the standard library now.
sed -i 's#"golang.org/x/crypto/ed25519"#"crypto/ed25519"#' xmod/sumdb/note/note.go
cp "$here/main.go" .
printf 'module execgate.example/log\n\ngo 1.17\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./xmod\n' > go.mod
GOFLAGS=-mod=mod GOPROXY=off CGO_ENABLED=0 go build -o verify-log .
