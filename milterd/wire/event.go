package wire

import gomilter "github.com/emersion/go-milter"

// Event is what there is to know of one kind of event, which the mail server
// tells a milter of.
type Event struct {
	Name   string
	Macros gomilter.Stage       // that come before it; NoMacros: none do
	Skip   gomilter.OptProtocol // the milter does not want it
	Mute   gomilter.OptProtocol // it is not answered
	Since  uint32               // the first version that has it
}

// NoMacros is the stage of events that bring no macros.
const NoMacros = ^gomilter.Stage(0)

// Events are all of them, to be read only.
var Events = map[gomilter.Code]Event{
	gomilter.CodeConn:   {"CONNECT", gomilter.StageConnect, gomilter.OptNoConnect, gomilter.OptNoConnReply, 2},
	gomilter.CodeHelo:   {"HELO", gomilter.StageHelo, gomilter.OptNoHelo, gomilter.OptNoHeloReply, 2},
	gomilter.CodeMail:   {"MAIL", gomilter.StageMailFrom, gomilter.OptNoMailFrom, gomilter.OptNoMailReply, 2},
	gomilter.CodeRcpt:   {"RCPT", gomilter.StageRcptTo, gomilter.OptNoRcptTo, gomilter.OptNoRcptReply, 2},
	gomilter.CodeData:   {"DATA", gomilter.StageData, gomilter.OptNoData, gomilter.OptNoDataReply, 4},
	CodeUnknown:         {"UNKNOWN", NoMacros, gomilter.OptNoUnknown, gomilter.OptNoUnknownReply, 3},
	gomilter.CodeHeader: {"HEADER", NoMacros, gomilter.OptNoHeaders, gomilter.OptNoHeaderReply, 2},
	gomilter.CodeEOH:    {"end of header", gomilter.StageEOH, gomilter.OptNoEOH, gomilter.OptNoEOHReply, 2},
	gomilter.CodeBody:   {"BODY", NoMacros, gomilter.OptNoBody, gomilter.OptNoBodyReply, 2},
	gomilter.CodeEOB:    {"end of message", gomilter.StageEOM, 0, 0, 2},
}

// Wants reports whether the milter is to be told of such events.
func (t *Terms) Wants(code gomilter.Code) bool {
	e := Events[code]
	return t.Version >= e.Since && t.Steps&e.Skip == 0
}
