package pipeline

import (
	"strings"

	"mtad/config"
	"mtad/message"
)

// Variables are the names that `when` conditions may use. What a variable looks
// at counts as read by its step.
func Variables() []config.Variable[*View] { return variables }

var variables = []config.Variable[*View]{
	boolVar("auth.ok", "the client has logged in", NoFacts, func(v *View) bool { return v.Client().Auth != nil }),
	stringVar("auth.user", "the account the client logged in as", NoFacts, func(v *View) string {
		if a := v.Client().Auth; a != nil {
			return a.User
		}
		return ""
	}),
	boolVar("tls.ok", "the connection is encrypted", NoFacts, func(v *View) bool { return v.Client().TLS != nil }),
	stringVar("tls.version", `"TLSv1.3", ""`, NoFacts, func(v *View) string {
		if t := v.Client().TLS; t != nil {
			return t.Version
		}
		return ""
	}),
	stringVar("client.addr", "the client's address, to be compared with cidr()", NoFacts, func(v *View) string {
		if a := v.Client().Addr; a.IsValid() {
			return a.Addr().String()
		}
		return ""
	}),
	stringVar("client.name", "the client's verified host name", NoFacts, func(v *View) string { return v.Client().Name }),
	stringVar("client.helo", "the name given at HELO or EHLO", NoFacts, func(v *View) string { return v.Client().Helo }),
	stringVar("client.protocol", `"smtp", "lmtp", or "local" for mail made here`, NoFacts, func(v *View) string { return v.Client().Protocol }),
	boolVar("client.trusted", "the client is in mynetworks", NoFacts, func(v *View) bool { return v.Client().Trusted }),
	boolVar("client.early", "the client talked before the greeting", NoFacts, func(v *View) bool { return v.Client().Early }),
	stringVar("listener", "the listener's name", NoFacts, func(v *View) string { return v.Client().Listener }),
	stringVar("sender", "the reverse-path, empty for bounces", Envelope, func(v *View) string { return v.Sender().Key() }),
	stringVar("sender.domain", "its domain", Envelope, func(v *View) string { return strings.ToLower(v.Sender().Domain) }),
	stringVar("rcpt", "the recipient in question at rcpt and deliver", Envelope, func(v *View) string { return v.Rcpt().Addr.Key() }),
	stringVar("rcpt.domain", "its domain", Envelope, func(v *View) string { return strings.ToLower(v.Rcpt().Addr.Domain) }),
	numberVar("rcpts", "how many recipients there are", Envelope, func(v *View) float64 { return float64(len(v.Rcpts())) }),
	numberVar("size", "octets of the message; before it is there, what MAIL announced", Envelope|Header|Body, func(v *View) float64 {
		if m := v.Message(); m != nil {
			return float64(m.Size())
		}
		return float64(v.SenderParams().Size)
	}),
	stringVar("subject", "the decoded subject", Header, func(v *View) string { return headerText(v, "Subject") }),
	stringVar("from", "the From field, decoded", Header, func(v *View) string { return headerText(v, "From") }),
	numberVar("score", "the points so far", Scores, func(v *View) float64 { return v.Score() }),
	stringVar("spf", "the result of filter spf", AuthResults, func(v *View) string { return result(v, "spf") }),
	stringVar("dkim", `"pass" if any signature verified, else the first result`, AuthResults, func(v *View) string { return result(v, "dkim") }),
	{Name: "tags", Type: config.ValueList, Doc: "the names of the tags so far", Reads: uint16(Tags), Get: func(v *View) config.Value {
		names := make([]string, len(v.Tags()))
		for i, t := range v.Tags() {
			names[i] = t.Name
		}
		return config.List(names)
	}},
}

func boolVar(name, doc string, reads Facts, get func(*View) bool) config.Variable[*View] {
	return config.Variable[*View]{
		Name: name, Type: config.ValueBool, Doc: doc, Reads: uint16(reads),
		Get: func(v *View) config.Value { return config.Bool(get(v)) },
	}
}

func stringVar(name, doc string, reads Facts, get func(*View) string) config.Variable[*View] {
	return config.Variable[*View]{
		Name: name, Type: config.ValueString, Doc: doc, Reads: uint16(reads),
		Get: func(v *View) config.Value { return config.String(get(v)) },
	}
}

func numberVar(name, doc string, reads Facts, get func(*View) float64) config.Variable[*View] {
	return config.Variable[*View]{
		Name: name, Type: config.ValueNumber, Doc: doc, Reads: uint16(reads),
		Get: func(v *View) config.Value { return config.Number(get(v)) },
	}
}

func headerText(v *View, name string) string {
	m := v.Message()
	if m == nil {
		return ""
	}
	value, _ := m.Header().Get(name)
	return message.DecodeText(value)
}

// result is a method's outcome: pass if there is one, else the first.
func result(v *View, method string) string {
	first := ""
	for _, r := range v.AuthResults() {
		if r.Method != method {
			continue
		}
		if r.Result == "pass" {
			return r.Result
		}
		if first == "" {
			first = r.Result
		}
	}
	return first
}
