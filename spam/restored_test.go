package spam

import "testing"

// TestRestored: what was marked is as it was, each of several fields for itself.
func TestRestored(t *testing.T) {
	for marked, want := range map[string]string{
		"Subject: [9] one\nX: y\nSubject: [9] two\n fold\nX-Spam-Prev-Subject: one\nX-Spam-Prev-Subject: two\n fold\n\nbody\n": "Subject: one\nX: y\nSubject: two\n fold\n\nbody\n",
		"FROM : (BAD) a\nX-Spam-Prev-From: a\nX-Spam-Flag: YES\n\n":                                                            "From: a\nX-Spam-Flag: YES\n\n",
		"From: a\nSubject: [9]\nX-Spam-Prev-Subject: (nonexistent)\n\nb":                                                       "From: a\n\nb",
		"From: a\n\nSubject: b\n": "From: a\n\nSubject: b\n",
	} {
		if got := string(Restored([]byte(marked))); got != want {
			t.Errorf("%q: %q, want %q", marked, got, want)
		}
	}
}
