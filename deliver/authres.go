package deliver

import (
	"strings"

	"github.com/emersion/go-msgauth/authres"

	"mtad/message"
	"mtad/pipeline"
)

// Forged reports whether an inbound field claims to be ours: authentication
// results under our name (RFC 8601, 5), or a spam verdict.
func Forged(f message.Field, authServID string) bool {
	if f.Is("Authentication-Results") {
		// The name may stand behind comments, and in quotes (RFC 8601, 2.2).
		id, _ := message.ParseParams(f.Value())
		if words := strings.Fields(id); len(words) > 0 {
			id = words[0]
		}
		id = strings.NewReplacer(`"`, "", `\`, "").Replace(id)
		return id == "" || strings.EqualFold(id, authServID)
	}
	return len(f.Name) > 7 && strings.EqualFold(f.Name[:7], "X-Spam-")
}

// WithResults adds the Authentication-Results field on top (RFC 8601, 2.2), if
// there are any results.
func WithResults(v *pipeline.View, authServID string) *pipeline.View {
	var results []authres.Result
	for _, r := range v.AuthResults() {
		params := map[string]string{}
		for _, p := range r.Props {
			params[p.Type+"."+p.Name] = p.Value
		}
		if r.Reason != "" {
			params["reason"] = r.Reason
		}
		results = append(results, &authres.GenericResult{Method: r.Method, Value: authres.ResultValue(r.Result), Params: params})
	}
	if len(results) == 0 {
		return v
	}
	return v.WithField(message.FormatField("Authentication-Results", authres.Format(authServID, results)))
}
