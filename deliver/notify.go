package deliver

import (
	"slices"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// What the sender asked to be told goes with the mail wherever it is sent on to
// (RFC 3461, 5.2.7), and no success is reported twice.

// asksSuccess reports whether a delivery is to be reported.
func asksSuccess(p smtp.RcptParams) bool {
	return slices.Contains(p.Notify, gosmtp.DSNNotifySuccess)
}

// withoutSuccess is for copies of mail whose success is reported here.
func withoutSuccess(p smtp.RcptParams) smtp.RcptParams {
	if !asksSuccess(p) {
		return p
	}
	p.Notify = slices.DeleteFunc(slices.Clone(p.Notify), func(n gosmtp.DSNNotify) bool { return n == gosmtp.DSNNotifySuccess })
	if len(p.Notify) == 0 {
		p.Notify = []gosmtp.DSNNotify{gosmtp.DSNNotifyNever}
	}
	return p
}

// withOriginal adds the address that a recipient had here, for whoever reports
// about another one (RFC 3461, 5.2.1 and 5.2.7.2).
func withOriginal(p smtp.RcptParams, was, is smtp.Address) smtp.RcptParams {
	if p.OriginalRecipient != "" || was.Equal(is) {
		return p
	}
	p.OriginalRecipientType, p.OriginalRecipient = gosmtp.DSNAddressTypeRFC822, was.String()
	if !was.ASCII() {
		p.OriginalRecipientType = gosmtp.DSNAddressTypeUTF8
	}
	return p
}

// passed are the parameters of a message's MAIL that one made of it keeps.
func passed(p smtp.MailParams) (out smtp.MailParams) {
	out.UTF8, out.RequireTLS, out.Return, out.EnvelopeID = p.UTF8, p.RequireTLS, p.Return, p.EnvelopeID
	return out
}

// expand notes what an alias makes of the wishes for one of its targets. The owner
// of a list is told what becomes of its mail, and the sender that the list has it
// (RFC 3461, 5.2.7.1); if there are several targets, the sender is told that the
// alias was expanded, and of no further success (5.2.7.3).
func (act *act) expand(targets int) {
	asked := act.Params
	switch {
	case !act.Owner.IsZero():
		act.Params = smtp.RcptParams{}
	case targets > 1:
		act.Params = withoutSuccess(asked)
	default:
		return
	}
	if asksSuccess(asked) {
		act.Expands = &asked
	}
}

// forwards reports whether all that is done for a mailbox is to send the message
// to one other address: its fate there is what the sender wants to hear of.
func (act *act) forwards() bool {
	return act.Kind == actFile && len(act.Plan.Redirects) == 1 && len(filings(act)) == 0
}

// news is what the sender of a message is told of an act at once.
func (act *act) news() (dsnRcpt, bool) {
	r := dsnRcpt{addr: act.Rcpt, params: act.Params, action: dsnDelivered, reply: "250 2.0.0 Delivered"}
	switch {
	case !act.Bounce.IsZero():
		r.action, r.reply = dsnFailed, act.Bounce.String()
	case act.Hold != "":
		return r, false
	case act.Expands != nil:
		r.params = *act.Expands
		if act.Owner.IsZero() {
			r.action, r.reply = dsnExpanded, "250 2.0.0 Sent on to several addresses"
		}
	case act.Kind != actFile || act.forwards():
		return r, false
	case len(act.Plan.Redirects) > 1 && len(filings(act)) == 0:
		r.action, r.reply = dsnExpanded, "250 2.0.0 Sent on to several addresses"
	}
	return r, wants(r.params, r.action)
}

// reportGroup is what goes into one report.
type reportGroup struct {
	to     smtp.Address
	params smtp.MailParams
	rcpts  []dsnRcpt
	from   []int // what it is about, by the caller's numbers
}

func (g *reportGroup) action() dsnAction { return g.rcpts[0].action }

// view is the envelope of the message that is reported about.
func (g *reportGroup) view(id message.ID, arrived time.Time) *pipeline.View {
	env := pipeline.Mailing{ID: id, Time: arrived, Sender: g.to, Params: g.params}
	return pipeline.NewView(pipeline.Client{}, env, nil)
}

// reports are the reports about one message: one for each whom to tell and each
// thing to say. Nobody is told of mail that comes from nobody.
type reports []*reportGroup

func (r *reports) add(to smtp.Address, p smtp.MailParams, news dsnRcpt, from int) {
	if to.IsZero() {
		return
	}
	i := slices.IndexFunc(*r, func(g *reportGroup) bool { return g.to == to && g.action() == news.action })
	if i < 0 {
		i = len(*r)
		*r = append(*r, &reportGroup{to: to, params: p})
	}
	g := (*r)[i]
	g.rcpts, g.from = append(g.rcpts, news), append(g.from, from)
}
