package pipeline

import (
	"testing"

	"mtad/internal/jsonout/jsontest"
)

func TestWriteEvent(t *testing.T) { jsontest.Check(t, (*Event).WriteJSON) }
