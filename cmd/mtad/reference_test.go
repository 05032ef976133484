package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"testing"

	"mtad/config"
)

var writeReference = flag.Bool("write-reference", false, "write docs/reference/configuration.md")

// docs/reference/configuration.md and docs/postfix-dictionary.md are what the option
// registry says.
func TestReference(t *testing.T) {
	var reference, dictionary bytes.Buffer
	check(t, config.Reference(&reference, schema()))
	check(t, config.Dictionary(&dictionary, schema(), postfixWords, dovecotWords))
	generated(t, "../../docs/reference/configuration.md", reference.Bytes())
	generated(t, "../../docs/postfix-dictionary.md", dictionary.Bytes())
	for _, w := range append(postfixWords, dovecotWords...) {
		if err := explain(io.Discard, nil, w.Theirs); err != nil {
			t.Errorf("explain %s: %v", w.Theirs, err)
		}
		if w.Ours == "" {
			continue
		}
		if err := config.Explain(io.Discard, schema(), nil, w.Ours); err != nil {
			t.Errorf("%s: %v", w.Theirs, err)
		}
	}
}

func generated(t *testing.T, path string, want []byte) {
	t.Helper()
	if *writeReference {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the options say (%v); go test ./cmd/mtad -run TestReference -write-reference writes it", path, err)
	}
}
