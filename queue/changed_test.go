package queue

import (
	"fmt"
	"strings"
	"testing"

	"mtad/message"
	"mtad/selector"
)

// What an administrator does is told, once for each message.
func TestChangesAreTold(t *testing.T) {
	var told []string
	b := newBench(t, t.TempDir(), Config{
		Attempt: always(Deferred),
		Changed: func(_ message.ID, items int, what string) { told = append(told, fmt.Sprintf("%s %d", what, items)) },
	})
	b.add(b.item("d.test", ""), b.item("d.test", ""))
	b.step()
	for _, a := range []Action{Hold("wait"), b.Release(), b.Retry(), Delete()} {
		if _, err := b.Change(t.Context(), selector.Selector{}, a); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(told, ", "); got != "held 1, held 1, released 1, released 1, deleted 1, deleted 1" && got != "held 2, released 2, deleted 2" {
		t.Errorf("told %q", got)
	}
}
