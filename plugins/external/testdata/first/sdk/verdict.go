package sdk

import "mtad/plugins/external/testdata/first/sdk/mtadpb"

// Verdict is a filter's answer. Its zero value means continue. The methods
// return the verdict, so that they can be chained.
type Verdict struct{ v mtadpb.Verdict }

// Proto is the verdict as the protocol has it, to set what has no method here.
func (v *Verdict) Proto() *mtadpb.Verdict { return &v.v }

// Reject refuses for good. An empty enhanced code means the default, 5.7.1.
func (v *Verdict) Reject(code int, enhanced, text string) *Verdict {
	return v.refuse("reject", code, enhanced, text)
}

// TempFail refuses for now.
func (v *Verdict) TempFail(code int, enhanced, text string) *Verdict {
	return v.refuse("tempfail", code, enhanced, text)
}

func (v *Verdict) refuse(action string, code int, enhanced, text string) *Verdict {
	v.v.Action = action
	v.v.Reply = &mtadpb.Reply{Code: int32(code), Enhanced: enhanced, Text: text}
	return v
}

// Discard takes the message and drops it.
func (v *Verdict) Discard() *Verdict {
	v.v.Action = "discard"
	return v
}

// Done asks not to be called again for this transaction; before MAIL, for this
// session.
func (v *Verdict) Done() *Verdict {
	v.v.Action = "done"
	return v
}

// Note says why, in the trace.
func (v *Verdict) Note(text string) *Verdict {
	v.v.Note = text
	return v
}

func (v *Verdict) mod(m *mtadpb.Modification) *Verdict {
	v.v.Mods = append(v.v.Mods, m)
	return v
}

// AddScore adds points. Writes "score".
func (v *Verdict) AddScore(name string, points float64, detail string) *Verdict {
	return v.mod(&mtadpb.Modification{Kind: &mtadpb.Modification_AddScore{AddScore: &mtadpb.Score{Name: name, Points: points, Detail: detail}}})
}

// Tag leaves a fact for later filters. Writes "tags".
func (v *Verdict) Tag(name, value string) *Verdict {
	return v.mod(&mtadpb.Modification{Kind: &mtadpb.Modification_Tag{Tag: &mtadpb.Tag{Name: name, Value: value}}})
}

// AddHeader adds a field at the end of the header. Writes "header".
func (v *Verdict) AddHeader(name, value string) *Verdict {
	return v.mod(&mtadpb.Modification{Kind: &mtadpb.Modification_AddHeader{AddHeader: &mtadpb.HeaderEdit{Name: name, Value: value}}})
}

// InsertHeader adds a field before position at, 0 being the top.
func (v *Verdict) InsertHeader(at int, name, value string) *Verdict {
	return v.mod(&mtadpb.Modification{Kind: &mtadpb.Modification_InsertHeader{InsertHeader: &mtadpb.HeaderEdit{At: int32(at), Name: name, Value: value}}})
}

// SetHeader changes the first field of that name, or adds one.
func (v *Verdict) SetHeader(name, value string) *Verdict {
	return v.mod(&mtadpb.Modification{Kind: &mtadpb.Modification_SetHeader{SetHeader: &mtadpb.HeaderEdit{Name: name, Nth: 1, Value: value}}})
}

// RemoveHeader removes every field of that name.
func (v *Verdict) RemoveHeader(name string) *Verdict {
	return v.mod(&mtadpb.Modification{Kind: &mtadpb.Modification_RemoveHeader{RemoveHeader: &mtadpb.HeaderEdit{Name: name}}})
}

// ReplaceBody replaces everything after the header: at most 3 MiB. Writes "body".
func (v *Verdict) ReplaceBody(body []byte) *Verdict {
	return v.mod(&mtadpb.Modification{Kind: &mtadpb.Modification_ReplaceBody{ReplaceBody: body}})
}

// Quarantine keeps the message from its recipients. Writes "envelope".
func (v *Verdict) Quarantine(reason string) *Verdict {
	return v.mod(&mtadpb.Modification{Kind: &mtadpb.Modification_Quarantine{Quarantine: reason}})
}

// Hold keeps the message in the queue until it is released. Writes "envelope".
func (v *Verdict) Hold(reason string) *Verdict {
	return v.mod(&mtadpb.Modification{Kind: &mtadpb.Modification_Hold{Hold: reason}})
}

// FileInto stores the message in a folder, at deliver. Writes "effects".
func (v *Verdict) FileInto(folder string, flags ...string) *Verdict {
	return v.mod(&mtadpb.Modification{Kind: &mtadpb.Modification_FileInto{FileInto: &mtadpb.FileInto{Folder: folder, Flags: flags}}})
}

// Redirect sends the message on, at deliver. Writes "effects".
func (v *Verdict) Redirect(address string) *Verdict {
	return v.mod(&mtadpb.Modification{Kind: &mtadpb.Modification_Redirect{Redirect: address}})
}
