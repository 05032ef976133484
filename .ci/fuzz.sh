#!/bin/sh
# Runs every fuzzer of the repository, one after the other: fuzz.sh [time each]
set -eu
time=${1:-20s}
cd "$(dirname "$0")/.."
git grep -l '^func Fuzz' -- '*_test.go' | while read -r file; do
	grep -o '^func Fuzz[A-Za-z0-9_]*' "$file" | sed 's/func //' | while read -r name; do
		echo "== $name ($(dirname "$file"))"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "./$(dirname "$file")" </dev/null
	done
done
