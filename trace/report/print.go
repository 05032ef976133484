package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Print writes the report for people. clean makes text safe for where it goes.
func (r *Report) Print(w io.Writer, clean func(string) string) error {
	p := &printer{clean: clean}
	p.line("Mail from %s to %s", r.From.Local().Format("Mon 2 Jan 2006 15:04"), r.To.Local().Format("Mon 2 Jan 15:04"))
	if r.Partial != "" {
		p.line("Partial: %s", clean(r.Partial))
	}
	p.attention(r.Attention)
	p.totals(&r.Totals)
	p.hours(r.Hours)
	p.filters(r.Filters)
	p.domains(r.Domains)
	p.entries("Sending hosts and domains", r.SendingDomains, true)
	p.entries("Senders by message count", r.SendersByCount, false)
	p.entries("Recipients by message count", r.RecipientsByCount, false)
	p.entries("Senders by message size", r.SendersBySize, true)
	p.entries("Recipients by message size", r.RecipientsBySize, true)
	p.entries("Deferrals", r.Deferrals, false)
	p.entries("Bounces", r.Bounces, false)
	p.entries("Rejects", r.Rejects, false)
	p.entries("Failed logins by address", r.Logins, false)
	_, err := io.WriteString(w, p.b.String())
	return err
}

type printer struct {
	b     strings.Builder
	clean func(string) string
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

func (p *printer) head(text string) { p.line("\n%s", text) }

// table writes rows in columns. What is to the right of a "\t" in a row is a cell.
func (p *printer) table(rows []string) {
	w := tabwriter.NewWriter(&p.b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, r := range rows {
		fmt.Fprintln(w, r)
	}
	_ = w.Flush() // a Builder takes everything
}

func (p *printer) attention(all []Attention) {
	p.head("Needs attention")
	if len(all) == 0 {
		p.line("  nothing")
	}
	for _, a := range all {
		p.line("  %s", p.clean(a.What))
		if a.Command != "" {
			p.line("      %s", p.clean(a.Command))
		}
	}
}

func (p *printer) totals(t *Totals) {
	p.head("Totals")
	more := ""
	if t.AtLeast {
		more = " or more"
	}
	for _, row := range []struct {
		n    int64
		what string
	}{
		{t.Received, "received"}, {t.Delivered, "delivered"}, {t.Forwarded, "forwarded"},
		{t.Deferred, fmt.Sprintf("deferred (%d deferrals)", t.Deferrals)}, {t.Bounced, "bounced"}, {t.Expired, "given up"},
		{t.Rejected, "rejected"}, {t.Held, "held"}, {t.Discarded, "discarded"}, {t.Made, "made here"}, {t.FailedLogins, "failed logins"},
	} {
		p.line("%8d  %s", row.n, row.what)
	}
	p.line("%8s  received", octets(t.BytesReceived))
	p.line("%8s  delivered", octets(t.BytesDelivered))
	for _, row := range []struct {
		n    int64
		what string
	}{
		{t.Senders, "senders"}, {t.SendingDomains, "sending hosts and domains"}, {t.Recipients, "recipients"}, {t.RecipientDomains, "recipient domains"},
	} {
		p.line("%8d  %s%s", row.n, row.what, more)
	}
}

func (p *printer) hours(all []Times) {
	if len(all) == 0 {
		return
	}
	p.head("By hour")
	rows := []string{"hour\treceived\tdelivered\tdeferred\tbounced\trejected\t"}
	for _, h := range all {
		rows = append(rows, fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%d\t", h.Hour.Local().Format("2 Jan 15:04"), h.Received, h.Delivered, h.Deferred, h.Bounced, h.Rejected))
	}
	p.table(rows)
}

func (p *printer) filters(all []Filter) {
	if len(all) == 0 {
		return
	}
	p.head("Filters")
	rows := []string{"filter\tseen\tpass\tscore\treject\ttempfail\terrors\tp50\tp95\t"}
	for _, f := range all {
		rows = append(rows, fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t",
			p.clean(f.Step), f.Seen, f.Pass, f.Score, f.Reject, f.Tempfail, f.Errors, short(f.P50), short(f.P95)))
	}
	p.table(rows)
}

func (p *printer) domains(all []Domain) {
	if len(all) == 0 {
		return
	}
	p.head("Recipient domains")
	rows := []string{"delivered\tbytes\tdeferrals\tbounced\tmean\tmax\t domain"}
	for _, d := range all {
		row := fmt.Sprintf("%d\t%s\t%d\t%d\t%s\t%s\t %s", d.Delivered, octets(d.Bytes), d.Deferrals, d.Bounced, short(d.MeanDelay), short(d.MaxDelay), p.clean(d.Name))
		if d.LastReply != "" {
			row += ": " + p.clean(d.LastReply)
		}
		rows = append(rows, row)
	}
	p.table(rows)
}

func (p *printer) entries(head string, all []Entry, size bool) {
	if len(all) == 0 {
		return
	}
	p.head(head)
	for _, e := range all {
		if size {
			p.line("%8d  %8s  %s", e.Count, octets(e.Bytes), p.clean(e.Name))
			continue
		}
		p.line("%8d  %s", e.Count, p.clean(e.Name))
	}
}

// short is a time to about three digits.
func short(d time.Duration) string {
	for _, unit := range []time.Duration{time.Hour, time.Minute, time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 10).String()
		}
	}
	return "0"
}

// octets is a size as people write it.
func octets(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 30, "GB"}, {1 << 20, "MB"}, {1 << 10, "KB"}} {
		if n >= 10*u.size {
			return fmt.Sprintf("%d %s", n/u.size, u.name)
		}
	}
	return fmt.Sprint(n)
}
