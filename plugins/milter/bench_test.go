package milter

import (
	"context"
	"strings"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"mtad/internal/e2e/milterkit"
	"mtad/message"
	"mtad/milterd/wire"
	"mtad/pipeline"
	"mtad/smtp"
)

// BenchmarkTransaction is a transaction of a message of 20 fields and 10 KiB in a
// session that goes on, with a milter that answers everything, or only the end.
func BenchmarkTransaction(b *testing.B) {
	all := wire.Offer(6).Steps &^ (0x37f | gomilter.OptHeaderLeadingSpace | gomilter.OptRcptRej | wire.OptData1M | wire.OptData256K)
	for _, c := range []struct {
		name  string
		steps gomilter.OptProtocol
	}{
		{"answers all", 0},
		{"answers no fields", gomilter.OptNoHeaderReply},
		{"answers the end", all},
		{"wants the end alone", 0x37f},
	} {
		b.Run(c.name, func(b *testing.B) {
			fake := milterkit.NewMilter(b, milterkit.Terms{Version: 6, Steps: c.steps})
			fake.Deaf = true
			text := strings.Repeat("X-Field: some value that is not very long\r\n", 20) + "\r\n" + strings.Repeat(strings.Repeat("x", 62)+"\r\n", 160)
			m, err := message.Parse(message.FromBytes([]byte(text)))
			if err != nil {
				b.Fatal(err)
			}
			flow := newTestPipeline(b, step(newTestFilter(b, configFor(fake)))).Open(testClient)
			defer flow.Close()
			ctx := context.Background()
			flow.Run(ctx, pipeline.Connect)
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				flow.Begin(message.ID(1), smtp.Address{Local: "a", Domain: "example.net"}, smtp.MailParams{})
				flow.Run(ctx, pipeline.Mail)
				flow.AddRcpt(pipeline.Recipient{Addr: smtp.Address{Local: "b", Domain: "example.org"}})
				flow.Run(ctx, pipeline.Rcpt)
				flow.Run(ctx, pipeline.Data)
				flow.SetMessage(m, nil, nil)
				if fate := flow.Run(ctx, pipeline.Message); fate.Action != pipeline.Continue {
					b.Fatal(explain(flow.Trace()))
				}
				flow.End(ctx, pipeline.Accepted)
			}
		})
	}
}
