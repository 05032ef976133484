// Package txrep is the reputation of senders (Mail::SpamAssassin::Plugin::TxRep 4.0): a
// message's score is drawn to the mean of what came before from the same address, domain,
// relay and name.
//
// Entries are kept as the database of SpamAssassin keeps them by default: under address
// and network, whoever has signed. What is forgotten is taken from the senders that it was
// added to; SpamAssassin does not look at the relays then, and takes it from others.
package txrep

import (
	"context"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"mtad/spam/relay"
	"mtad/spam/scan"
)

// Learning says what is to be done with a message instead of judging it.
type Learning int

// What is learned of a message.
const (
	Nothing Learning = iota
	Spam
	Ham
	Forget
)

// Verdict is what TxRep says of a message.
type Verdict struct {
	Delta   float64 // what it adds to the score, rounded to three digits; 0 is no hit
	Changes []scan.ReputationChange
}

// Judge says what the reputation of its senders adds to the score of a message. points are
// those of the rules that count for learning; id is the message's own name.
func Judge(ctx context.Context, s *scan.Scan, st scan.Reputations, id string, points float64) (Verdict, error) {
	t, err := begin(ctx, s, st, id)
	if err != nil {
		return Verdict{}, err
	}
	return t.verdict(t.senders(points)), nil
}

// Learn says what to change for a message that somebody calls spam or ham, or wants
// forgotten.
func Learn(ctx context.Context, s *scan.Scan, st scan.Reputations, id string, l Learning, points float64) (Verdict, error) {
	t, err := begin(ctx, s, st, id)
	if err != nil {
		return Verdict{}, err
	}
	switch l {
	case Spam:
		t.learn(t.number("txrep_learn_penalty"))
	case Ham:
		t.learn(-t.number("txrep_learn_bonus"))
	case Forget:
		t.forgetting = true
		t.senders(points)
	}
	return t.verdict(0), nil
}

func (t *turn) learn(points float64) {
	if points != 0 {
		t.learning = points
		t.senders(points)
	}
}

// turn is one message's look at what is known.
type turn struct {
	*scan.Scan
	id         string
	senderOf   sender
	known      map[string]*entry
	learning   float64 // points, 0: it is judged
	forgetting bool
	weight     float64 // of what was asked
}

// entry is what is known under a key, and what was.
type entry struct {
	scan.Reputation
	was     scan.Reputation
	removed bool
}

// sender is who a message is from.
type sender struct {
	from, domain string
	out          bool // from this network alone
}

func begin(ctx context.Context, s *scan.Scan, st scan.Reputations, id string) (*turn, error) {
	t := &turn{Scan: s, id: id, known: map[string]*entry{}}
	t.senderOf.out = len(s.Path.Internal) > 0 && len(s.Path.External) == 0
	t.senderOf.from = strings.ToLower(s.First("From:addr"))
	if t.senderOf.from == "" {
		t.senderOf.from = s.First("EnvelopeFrom:addr")
	}
	t.senderOf.domain = t.senderOf.from[strings.LastIndexByte(t.senderOf.from, '@')+1:]
	keys := t.keys()
	found, err := st.Look(ctx, keys)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		t.known[key] = &entry{Reputation: found[i], was: found[i]}
	}
	return t, nil
}

// keys are all that may be asked for.
func (t *turn) keys() []string {
	var out []string
	seen := map[string]bool{}
	add := func(id, ip string) {
		if key := t.key(id, ip); !seen[key] {
			seen[key] = true
			out = append(out, key)
		}
	}
	add(t.id, "")
	domain, _ := t.signed()
	for _, ip := range t.addresses() {
		add(t.senderOf.from, ip)
		add(t.senderOf.domain, ip)
		add(domain, ip)
		add(ip, "")
	}
	for _, r := range t.relays() {
		add(r.Helo, "")
	}
	if t.senderOf.out {
		for _, to := range t.AllTo() {
			add(to, "")
		}
	}
	return out
}

// addresses are those that may be the origin, and none.
func (t *turn) addresses() []string {
	out := []string{"", "127.0.0.1"}
	for _, r := range t.relays() {
		out = append(out, r.IP)
	}
	return out
}

func (t *turn) relays() []*relay.Relay {
	return append(append([]*relay.Relay(nil), t.Path.Trusted...), t.Path.Untrusted...)
}

func (t *turn) number(name string) float64 { return t.Rules.Number(name) }

// verdict gathers what has changed.
func (t *turn) verdict(delta float64) Verdict {
	v := Verdict{}
	v.Delta, _ = strconv.ParseFloat(strconv.FormatFloat(delta, 'f', 3, 64), 64)
	for key, e := range t.known {
		switch {
		case e.removed:
			v.Changes = append(v.Changes, scan.ReputationChange{Key: key, Remove: true, Reputation: e.Reputation})
		case e.Reputation != e.was:
			v.Changes = append(v.Changes, scan.ReputationChange{Key: key, Reputation: scan.Reputation{Count: e.Count - e.was.Count, Total: e.Total - e.was.Total}})
		}
	}
	return v
}

// origin finds the address and the name of the client that the message came from.
func (t *turn) origin(points float64) (ip, helo string) {
	trusted := len(t.Path.Trusted)
	for _, r := range t.relays() {
		if r.Helo != r.IP && r.Helo != "["+r.IP+"]" && !strings.EqualFold(r.Helo, t.senderOf.domain) && !strings.EqualFold(r.Helo, t.senderOf.from) {
			helo = r.Helo
		}
		trusted--
		switch {
		case r.IP == "":
		case !r.Private && (trusted >= -1 || points < 2):
			ip = r.IP
		case r.Private && trusted >= 0 && ip == "":
			ip = "127.0.0.1"
		}
	}
	return ip, helo
}

// signed is who vouches for the message: a domain, by DKIM or by SPF.
func (t *turn) signed() (domain string, ok bool) {
	if t.Rules.Bool("auto_welcomelist_distinguish_signed") {
		if domains := t.Tag("DKIMDOMAIN"); domains != nil { // each once
			return strings.Join(domains, " "), true
		}
	}
	return t.senderOf.domain, t.Rules.Bool("txrep_spf") && t.Facts.SPF != nil && t.Facts.SPF.MailFrom == "pass"
}

// senders goes through all that is known of a message's senders.
func (t *turn) senders(points float64) (delta float64) {
	if strings.TrimSpace(t.senderOf.from) == "" {
		return 0
	}
	ip, helo := t.origin(points)
	if t.Rules.Bool("txrep_track_messages") {
		count := t.known[t.key(t.id, "")].Count // what is forgotten is not there afterwards
		mean := t.check("MSG_ID", t.id, "", nil)
		switch {
		case count == 0:
		case t.learning != 0 && !t.forgetting:
			if count > 1 {
				t.forgetting = true
				t.senders(t.learning)
				t.forgetting = false
			}
		case t.forgetting:
			points = mean
		default:
			f := t.number("txrep_factor")
			return (points+f*mean)/(1+f) - points
		}
	}
	if n := t.number("txrep_welcomelist_out"); n != 0 && t.senderOf.out {
		for _, to := range t.AllTo() {
			e := t.known[t.key(to, "")]
			*e = entry{Reputation: scan.Reputation{Count: 1, Total: -n}, was: e.was, removed: true}
		}
	}
	delta = t.all(points, ip, helo)
	if t.learning == 0 {
		if t.weight != 0 {
			delta *= t.number("txrep_factor") / t.weight
		} else {
			delta = 0
		}
		points += delta
	}
	if t.Rules.Bool("txrep_track_messages") {
		t.check("MSG_ID", t.id, "", &points)
	}
	return delta
}

// all asks for each of the senders.
func (t *turn) all(points float64, ip, helo string) float64 {
	t.weight = 0
	domain, signed := t.signed()
	by := ip
	if signed {
		by = ""
	}
	delta := t.check("EMAIL_IP", t.senderOf.from, by, &points)
	if domain != "" {
		delta += t.check("DOMAIN", domain, by, &points)
	}
	if helo != "" {
		delta += t.check("HELO", helo, "", &points)
	}
	if ip != "" {
		if !signed {
			delta += t.check("EMAIL", t.senderOf.from, "", &points)
		}
		delta += t.check("IP", ip, "", &points)
	}
	return delta
}

// check asks for what is known under one key, and adds the message's points to it; nil is
// only to ask. It returns the weighted difference that it makes.
func (t *turn) check(kind, id, ip string, points *float64) float64 {
	weight := 1.0
	if kind != "MSG_ID" {
		weight = t.number("txrep_weight_" + strings.ToLower(kind))
	}
	if weight == 0 {
		return 0
	}
	e := t.known[t.key(id, ip)]
	delta := 0.0
	if t.learning != 0 && points != nil {
		if e.Count > 0 {
			p := *points
			if p != 0 {
				p += math.Copysign(math.Abs(e.Total/float64(e.Count)), p)
			}
			points = &p
		}
	} else {
		t.weight += weight
		delta = e.difference(kind, points)
	}
	switch {
	case points == nil && t.forgetting && kind == "MSG_ID":
		*e = entry{was: e.was, removed: true, Reputation: e.Reputation}
		e.Reputation = scan.Reputation{}
	case points == nil:
	case t.forgetting:
		e.remove(*points)
		if kind == "MSG_ID" {
			e.removed, e.Reputation = true, scan.Reputation{}
		}
	default:
		e.add(*points)
		if t.learning != 0 && kind == "MSG_ID" && e.Count == 1 {
			e.add(*points) // two are of a message that was taught
		}
	}
	return weight * delta
}

// difference is what an entry makes of a message's points.
func (e *entry) difference(kind string, points *float64) float64 {
	if kind == "MSG_ID" && e.Count > 0 {
		return e.Total / float64(e.Count)
	}
	n := float64(1 + e.Count)
	if points != nil {
		d := (e.Total+*points)/n - *points
		if !(e.Total > 0 && *points > 0 && d < 0) && !(e.Total < 0 && *points < 0 && d > 0) {
			return d
		}
	}
	return e.Total / n
}

func (e *entry) add(points float64) {
	e.Count++
	e.Total += points
}

// remove takes a score away, and one message.
func (e *entry) remove(points float64) {
	if e.Count > 2 {
		e.Count -= 2
	} else {
		e.Count = 0
	}
	e.add(-points)
}

var (
	oddOctets = strings.NewReplacer("\x00", "_", ";", "_", "'", "_", `"`, "_", "!", "_", "|", "_")
	mailbox   = regexp.MustCompile(`[^\s@]+@[^\s@]+`)
)

// key is what an entry is kept under: an address or a name, and a network.
func (t *turn) key(id, ip string) string {
	id = oddOctets.Replace(strings.ToLower(id))
	network := t.network(ip)
	if t.senderOf.out && t.number("txrep_welcomelist_out") != 0 && mailbox.MatchString(id) {
		network = "WELCOMELIST_OUT"
	}
	return id + "|ip=" + network
}

// network is the network of an address, as TxRep writes it.
func (t *turn) network(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return "none"
	}
	bits, name := int(t.number("txrep_ipv4_mask_len")), "."
	if a.Is6() {
		bits = int(t.number("txrep_ipv6_mask_len"))
	}
	p, err := a.WithZone("").Prefix(min(bits, a.BitLen()))
	if err != nil {
		return "none"
	}
	a = p.Addr()
	switch {
	case a.Is4() && bits == 16:
		parts := strings.Split(a.String(), name)
		return parts[0] + name + parts[1]
	case a.Is4() && bits == 32:
		return a.String()
	case a.Is4():
		return zeroTail4.ReplaceAllString(a.String(), "")
	}
	return zeroTail6.ReplaceAllString(a.StringExpanded(), "::")
}

var (
	zeroTail4 = regexp.MustCompile(`(?:\.0){1,3}$`)
	zeroTail6 = regexp.MustCompile(`(?::0000){1,7}$`)
)
