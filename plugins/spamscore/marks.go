package spamscore

import (
	"strconv"
	"strings"

	"mtad/message"
	"mtad/pipeline"
	"mtad/spam"
)

// markedTag says that fields X-Spam-Prev-... of a message are those of a filter here, and
// not of its sender, and in their order which fields they were: "From=1 Subject=2", the
// number 0 of one that was not there.
const markedTag = "spamscore.marked"

const prevPrefix = "X-Spam-Prev-"

// marks changes fields as rewrite_header and subjprefix say, and keeps what they were. h is
// the header as the rules have seen it; marked says that it was marked before that.
func marks(h *message.Header, p *spam.Report, marked bool) (out []pipeline.Modification) {
	var changed []string
	for _, m := range p.Marks() {
		was, nth := spam.Nonexistent, 0
		switch {
		case m.Was == "":
		case m.Nth > len(h.All(m.Name)):
			continue // the rules read more as a header than the server does
		default:
			was, nth = valueOf(m.Was), m.Nth
		}
		changed = append(changed, m.Name+"="+strconv.Itoa(nth))
		out = append(out, pipeline.SetHeader{Name: m.Name, Nth: m.Nth, Value: valueOf(m.Now)}, pipeline.AddHeader{Name: prevPrefix + m.Name, Value: was})
	}
	if marked || changed != nil {
		out = append(out, pipeline.Tag{Name: markedTag, Value: strings.Join(changed, " ")})
	}
	return out
}

// valueOf is what stands in a field.
func valueOf(field string) string {
	_, value, _ := strings.Cut(field, ":")
	return strings.TrimSpace(value)
}

// restore takes marks away that a filter before this one has made: a recipient may want
// others or none. It gives the message as it was and what makes it so.
func restore(v *pipeline.View) (m *message.Message, out []pipeline.Modification) {
	m = v.Message()
	list, _ := v.Tag(markedTag)
	if list == "" {
		return m, nil
	}
	h := m.Header()
	kept := map[string][]message.Field{}
	for _, f := range h.Fields() {
		if len(f.Name) > len(prevPrefix) && strings.EqualFold(f.Name[:len(prevPrefix)], prevPrefix) {
			name := f.Name[len(prevPrefix):]
			kept[name] = append(kept[name], f)
		}
	}
	for _, x := range strings.Fields(list) {
		name, number, _ := strings.Cut(x, "=")
		nth, err := strconv.Atoi(number)
		if err != nil || len(kept[name]) == 0 {
			continue
		}
		prev := kept[name][0]
		kept[name] = kept[name][1:]
		all := m.Header().All(name)
		if len(all) == 0 || nth > len(all) {
			continue
		}
		at := all[max(nth, 1)-1].ID
		if nth == 0 {
			h, _ = h.Remove(at)
			out = append(out, pipeline.RemoveHeader{Field: at})
		} else {
			h, _ = h.Set(at, message.FormatRawField(name, prev.RawValue()))
			out = append(out, pipeline.SetHeader{Field: at, Name: name, Value: prev.RawValue(), Raw: true})
		}
		h, _ = h.Remove(prev.ID) // stale takes it out of the message
	}
	return m.WithHeader(h), out
}
