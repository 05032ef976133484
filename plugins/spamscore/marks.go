package spamscore

import (
	"strings"

	"mtad/pipeline"
	"mtad/spam"
)

// markedTag says that fields X-Spam-Prev-... of a message are those of a filter of the
// listener's pipeline, and not of its sender.
const markedTag = "spamscore.marked"

const prevPrefix = "X-Spam-Prev-"

// marks changes fields as rewrite_header and subjprefix say, and keeps what they were.
func marks(p *spam.Report) (out []pipeline.Modification) {
	for _, m := range p.Marks() {
		was := spam.Nonexistent
		if m.Was != "" {
			was = valueOf(m.Was)
		}
		out = append(out, pipeline.SetHeader{Name: m.Name, Nth: m.Nth, Value: valueOf(m.Now)}, pipeline.AddHeader{Name: prevPrefix + m.Name, Value: was})
	}
	if out != nil {
		out = append(out, pipeline.Tag{Name: markedTag})
	}
	return out
}

// valueOf is what stands in a field.
func valueOf(field string) string {
	_, value, _ := strings.Cut(field, ":")
	return strings.TrimSpace(value)
}

// restore takes marks away that were made before the message came to a recipient, who may
// want others or none.
func restore(v *pipeline.View, text []byte) (before []byte, out []pipeline.Modification) {
	if _, ours := v.Tag(markedTag); !ours {
		return text, nil
	}
	nth := map[string]int{}
	for _, f := range v.Message().Header().Fields() {
		if len(f.Name) <= len(prevPrefix) || !strings.EqualFold(f.Name[:len(prevPrefix)], prevPrefix) {
			continue
		}
		name := f.Name[len(prevPrefix):]
		nth[name]++
		if f.Value() == spam.Nonexistent {
			out = append(out, pipeline.RemoveHeader{Name: name, Nth: 1})
		} else {
			out = append(out, pipeline.SetHeader{Name: name, Nth: nth[name], Value: f.Value()})
		}
	}
	return spam.Restored(text), out
}
