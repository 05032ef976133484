package main

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"mtad/config"
)

var writeReference = flag.Bool("write-reference", false, "write docs/reference/configuration.md")

// docs/reference/configuration.md is what the option registry says.
func TestReference(t *testing.T) {
	const path = "../../docs/reference/configuration.md"
	var want bytes.Buffer
	if err := config.Reference(&want, schema()); err != nil {
		t.Fatal(err)
	}
	if *writeReference {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the options say (%v); go test ./cmd/mtad -run TestReference -write-reference writes it", path, err)
	}
}
