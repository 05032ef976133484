package deliver

import (
	"context"
	"errors"
	"time"

	"mtad/message"
	"mtad/pipeline"
	"mtad/store"
)

// handedTime is how long it is remembered what was handed in. A file that is there
// longer is remembered anew whenever it is seen.
const handedTime = 30 * 24 * time.Hour

// errBeingTaken is for what is handed in a second time while the first goes on.
var errBeingTaken = errors.New("deliver: this message is being taken already")

// Once runs fn, which takes what is handed in under a key, unless that was done
// before: a program whose connection breaks before the answer hands in again, and a
// file that was taken may still be there at the next start. The ID is what fn said.
func (a *Agent) Once(ctx context.Context, key string, fn func() (message.ID, error)) (message.ID, error) {
	_, busy := a.handing.LoadOrStore(key, struct{}{})
	known, ok, err := a.cfg.Handed.Get(ctx, key)
	switch {
	case ok:
		if !busy {
			defer a.handing.Delete(key)
		}
		id, _ := message.ParseID(string(known)) // zero where there was no message
		return id, a.cfg.Handed.Set(ctx, key, known, handedTime)
	case busy:
		return 0, errBeingTaken
	case err != nil:
		a.handing.Delete(key)
		return 0, err
	}
	id, err := fn()
	if err == nil {
		if err := a.cfg.Handed.Set(context.WithoutCancel(ctx), key, []byte(id.String()), handedTime); err != nil {
			// It is taken, so the key stays busy: acting on it will remember it too.
			a.cfg.Log.Error("remember what was handed in", "id", id, "err", err)
			return id, nil
		}
	}
	a.handing.Delete(key)
	return id, err
}

// rememberHanded remembers in the transaction that acts on a message under which key
// it was handed in: what the journal took is known after a crash, too.
func (a *Agent) rememberHanded(tx *store.Tx, v *pipeline.View) error {
	if !handedIn(v) || a.cfg.Handed == nil {
		return nil
	}
	return a.cfg.Handed.SetIn(tx, v.Client().Session, []byte(v.ID().String()), handedTime)
}
