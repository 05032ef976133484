package external

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mtad/message"
	"mtad/pipeline"
	"mtad/sdk/mtadpb"
	"mtad/smtp"
)

// viewOut writes a View for the wire. What the View hides stays behind, and the
// header, which it shows to those who read the body alone.
func viewOut(v *pipeline.View, reads pipeline.Facts) *mtadpb.View {
	out := &mtadpb.View{
		Id: v.ID().String(), Client: clientOut(v.Client()), Sender: v.Sender().String(), Rcpt: uint32(v.Rcpt().ID),
		Mailbox: v.Mailbox().String(), Command: v.Command(),
	}
	for _, r := range v.Rcpts() {
		out.Rcpts = append(out.Rcpts, &mtadpb.Recipient{Id: uint32(r.ID), Addr: r.Addr.String(), Class: string(r.Class)})
	}
	if m := v.Message(); m != nil {
		out.Size, out.HeaderSize = m.Size(), m.HeaderSize()
		for _, f := range headerOut(m, reads) {
			out.Header = append(out.Header, &mtadpb.Field{Id: int32(f.ID), Raw: f.Raw})
		}
	}
	for _, r := range v.AuthResults() {
		out.AuthResults = append(out.AuthResults, authOut(r))
	}
	for _, s := range v.Scores() {
		out.Scores = append(out.Scores, &mtadpb.Score{Step: s.Step, Name: s.Name, Points: s.Points, Detail: s.Detail})
	}
	for _, t := range v.Tags() {
		out.Tags = append(out.Tags, &mtadpb.Tag{Name: t.Name, Value: t.Value})
	}
	return out
}

func headerOut(m *message.Message, reads pipeline.Facts) []message.Field {
	if reads&pipeline.Header == 0 {
		return nil
	}
	return m.Header().Fields()
}

func clientOut(c *pipeline.Client) *mtadpb.Client {
	out := &mtadpb.Client{
		Session: c.Session, Listener: c.Listener, Protocol: c.Protocol, Hostname: c.Hostname,
		Name: c.Name, Reverse: c.Reverse, Helo: c.Helo, Trusted: c.Trusted, Early: c.Early,
	}
	if c.Addr.IsValid() {
		out.Addr, out.Port = c.Addr.Addr().String(), uint32(c.Addr.Port())
	}
	if c.TLS != nil {
		out.Tls = c.TLS.Version
	}
	if c.Auth != nil {
		out.User = c.Auth.User
	}
	return out
}

func authOut(r pipeline.AuthResult) *mtadpb.AuthResult {
	out := &mtadpb.AuthResult{Method: r.Method, Result: r.Result, Reason: r.Reason, Props: map[string]string{}}
	for _, p := range r.Props {
		out.Props[p.Type+"."+p.Name] = p.Value
	}
	return out
}

// maxEdits are the most of one verdict.
const maxEdits = 10_000

// verdictIn reads a verdict. What is malformed is the filter's fault.
func verdictIn(in *mtadpb.Verdict) (pipeline.Verdict, error) {
	if in.GetError() != "" {
		return pipeline.Verdict{}, fmt.Errorf("filter: %.500s", in.GetError())
	}
	edits := len(in.GetMods())
	for _, r := range in.GetRcpts() {
		edits += len(r.GetMods())
	}
	if edits > maxEdits {
		return pipeline.Verdict{}, fmt.Errorf("a verdict with %d edits; %d are the most", edits, maxEdits)
	}
	action, err := actionIn(in.GetAction())
	if err != nil {
		return pipeline.Verdict{}, err
	}
	out := pipeline.Verdict{Action: action, Note: in.GetNote()}
	if out.Reply, err = replyIn(in.GetReply()); err != nil {
		return out, err
	}
	if out.Mods, err = modsIn(in.GetMods()); err != nil {
		return out, err
	}
	for _, r := range in.GetRcpts() {
		rv := pipeline.RcptVerdict{Rcpt: pipeline.RcptID(r.GetRcpt())}
		if rv.Action, err = actionIn(r.GetAction()); err != nil {
			return out, err
		}
		if rv.Reply, err = replyIn(r.GetReply()); err != nil {
			return out, err
		}
		if rv.Mods, err = modsIn(r.GetMods()); err != nil {
			return out, err
		}
		out.Rcpts = append(out.Rcpts, rv)
	}
	return out, nil
}

func actionIn(name string) (pipeline.Action, error) {
	if name == "" {
		return pipeline.Continue, nil
	}
	a, ok := pipeline.ParseAction(name)
	if !ok {
		return 0, fmt.Errorf("action %q does not exist", name)
	}
	return a, nil
}

func replyIn(r *mtadpb.Reply) (smtp.Reply, error) {
	if r == nil || r.GetCode() == 0 {
		return smtp.Reply{}, nil
	}
	out := smtp.NewReply(int(r.GetCode()), 7, 1, r.GetText())
	if r.GetCode() < 200 || r.GetCode() > 599 {
		return out, fmt.Errorf("reply code %d does not exist", r.GetCode())
	}
	if r.GetEnhanced() != "" {
		var ok bool
		if out.Enhanced, ok = smtp.ParseCode(r.GetEnhanced()); !ok {
			return out, fmt.Errorf("enhanced status code %q does not exist", r.GetEnhanced())
		}
	}
	return out, nil
}

func modsIn(in []*mtadpb.Modification) ([]pipeline.Modification, error) {
	out := make([]pipeline.Modification, 0, len(in))
	for _, m := range in {
		mod, err := modIn(m)
		if err != nil {
			return nil, err
		}
		out = append(out, mod)
	}
	return out, nil
}

// modIn reads one edit.
func modIn(m *mtadpb.Modification) (pipeline.Modification, error) {
	switch k := m.GetKind().(type) {
	case *mtadpb.Modification_SetSender:
		if k.SetSender == "" {
			return pipeline.SetSender{}, nil
		}
		a, err := smtp.ParseAddress(k.SetSender)
		return pipeline.SetSender{Addr: a}, err
	case *mtadpb.Modification_AddRcpt:
		a, err := smtp.ParseAddress(k.AddRcpt)
		return pipeline.AddRecipient{Addr: a}, err
	case *mtadpb.Modification_RemoveRcpt:
		a, err := smtp.ParseAddress(k.RemoveRcpt)
		return pipeline.RemoveRecipient{Addr: a}, err
	case *mtadpb.Modification_Redirect:
		a, err := smtp.ParseAddress(k.Redirect)
		return pipeline.Redirect{Addr: a}, err
	case *mtadpb.Modification_AddHeader:
		return pipeline.AddHeader{Name: k.AddHeader.GetName(), Value: k.AddHeader.GetValue()}, nil
	case *mtadpb.Modification_InsertHeader:
		h := k.InsertHeader
		return pipeline.InsertHeader{At: int(h.GetAt()), Name: h.GetName(), Value: h.GetValue()}, nil
	case *mtadpb.Modification_SetHeader:
		h := k.SetHeader
		return pipeline.SetHeader{Field: message.FieldID(h.GetField()), Name: h.GetName(), Nth: int(h.GetNth()), Value: h.GetValue()}, nil
	case *mtadpb.Modification_RemoveHeader:
		h := k.RemoveHeader
		return pipeline.RemoveHeader{Field: message.FieldID(h.GetField()), Name: h.GetName(), Nth: int(h.GetNth())}, nil
	case *mtadpb.Modification_ReplaceBody:
		return pipeline.ReplaceBody{Body: message.FromBytes(k.ReplaceBody)}, nil
	}
	return factIn(m)
}

// factIn reads the edits that leave the message as it is.
func factIn(m *mtadpb.Modification) (pipeline.Modification, error) {
	switch k := m.GetKind().(type) {
	case *mtadpb.Modification_Hold:
		return pipeline.Hold{Reason: k.Hold}, nil
	case *mtadpb.Modification_Quarantine:
		return pipeline.Quarantine{Reason: k.Quarantine}, nil
	case *mtadpb.Modification_AddScore:
		return pipeline.AddScore{Name: k.AddScore.GetName(), Points: k.AddScore.GetPoints(), Detail: k.AddScore.GetDetail()}, nil
	case *mtadpb.Modification_AddAuthResult:
		r := k.AddAuthResult
		return pipeline.AddAuthResult{Result: pipeline.AuthResult{Method: r.GetMethod(), Result: r.GetResult(), Reason: r.GetReason(), Props: propsIn(r.GetProps())}}, nil
	case *mtadpb.Modification_Tag:
		return pipeline.Tag{Name: k.Tag.GetName(), Value: k.Tag.GetValue()}, nil
	case *mtadpb.Modification_SetFolder:
		return pipeline.SetFolder{Folder: k.SetFolder}, nil
	case *mtadpb.Modification_FileInto:
		return pipeline.FileInto{Folder: k.FileInto.GetFolder(), Flags: k.FileInto.GetFlags(), Copy: k.FileInto.GetCopy()}, nil
	case *mtadpb.Modification_CancelKeep:
		return pipeline.CancelKeep{}, nil
	case *mtadpb.Modification_SetFlags:
		return pipeline.SetFlags{Flags: k.SetFlags.GetFlags()}, nil
	}
	return nil, fmt.Errorf("an edit of a kind that this mtad does not know")
}

// propsIn reads properties in the order of their names.
func propsIn(in map[string]string) []pipeline.AuthProp {
	var out []pipeline.AuthProp
	for _, k := range slices.Sorted(maps.Keys(in)) {
		typ, name, _ := strings.Cut(k, ".")
		out = append(out, pipeline.AuthProp{Type: typ, Name: name, Value: in[k]})
	}
	return out
}
