//go:build invariants

package deliver

import (
	"testing"

	"mtad/internal/mtatest"
	"mtad/journal"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

func TestInvariants(t *testing.T) {
	w := newWorld(t)
	ann := act{Kind: actFile, ID: 1, Account: 1, Mailbox: w.addr("ann@x.test")}
	bob := act{Kind: actFile, ID: 2, Account: 2, Mailbox: w.addr("bob@x.test")}
	mtatest.Breaks(t, "nothing is done for bob@x.test", func() { checkActs(1, []act{ann, bob}, []act{ann}) })
	bob.Account = 0
	mtatest.Breaks(t, "mail for bob@x.test is nobody's", func() { checkActs(1, []act{bob}, []act{bob}) })
	mtatest.Breaks(t, "and the journal ends at", func() {
		checkStored(1, journal.Place{Segment: 1, Offset: 64, Length: 10}, journal.Position{Segment: 1, Offset: 73})
	})
	mtatest.Breaks(t, "rows for a message that has no place", func() {
		m, err := message.Parse(message.FromBytes([]byte("x: y\r\n\r\n")))
		w.must(err)
		v := pipeline.NewView(pipeline.Client{}, pipeline.Mailing{ID: 1}, m)
		refused := act{Kind: actSend, Mailbox: ann.Mailbox, Bounce: smtp.NewReply(550, 7, 1, "no")}
		w.agent.rows(nil, w.agent.accepted(v, []act{refused}, journal.Place{}))
	})
}
