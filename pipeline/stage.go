package pipeline

import "strings"

// Stage is a point of a session at which filters are asked.
type Stage uint8

// The stages in the order they come. Connect to Auth speak of the session, Mail
// to Message of a transaction; Deliver of one local recipient, before the reply
// where mail comes by SMTP; Queued of the transaction, after the reply.
const (
	Connect Stage = iota
	Helo
	Auth
	Unknown // a command that belongs to no transaction: VRFY and the like
	Mail
	Rcpt
	Data // at DATA, or at the first BDAT
	Message
	Deliver
	Queued
	stageCount
)

var stageNames = [stageCount]string{
	"connect", "helo", "auth", "unknown", "mail", "rcpt", "data", "message", "deliver", "queued",
}

// String is the stage's name in traces and configurations.
func (s Stage) String() string {
	if s < stageCount {
		return stageNames[s]
	}
	return "invalid"
}

// ParseStage finds the stage of that name.
func ParseStage(name string) (Stage, bool) {
	for s, n := range stageNames {
		if n == name {
			return Stage(s), true
		}
	}
	return 0, false
}

// session reports whether verdicts of the stage speak of the session.
func (s Stage) session() bool { return s <= Auth }

// content reports whether the whole message is there at the stage.
func (s Stage) content() bool { return s >= Message }

// Stages is a set of stages.
type Stages uint16

// At is the set of these stages.
func At(stages ...Stage) Stages {
	var set Stages
	for _, s := range stages {
		set |= 1 << s
	}
	return set
}

// Sets of stages: those of a listener's pipeline, those of a delivery pipeline,
// and those of the pipeline of mail made here.
const (
	ListenerStages  = Stages(1<<Message<<1-1) | 1<<Queued
	DeliveryStages  = Stages(1 << Deliver)
	GeneratedStages = Stages(1 << Message)
)

// Has reports whether s is in the set.
func (set Stages) Has(s Stage) bool { return set&(1<<s) != 0 }

// String lists the names.
func (set Stages) String() string {
	var names []string
	for s := range stageCount {
		if set.Has(s) {
			names = append(names, s.String())
		}
	}
	return strings.Join(names, ", ")
}

// Facts is a set of what a filter reads or writes.
type Facts uint16

// The facts. Effects are what outlives the message: key-value writes, learning,
// anything outside.
const (
	Envelope Facts = 1 << iota
	Header
	Body
	AuthResults
	Scores
	Tags
	Effects

	AllFacts = Envelope | Header | Body | AuthResults | Scores | Tags | Effects
	NoFacts  = Facts(0)
)

var factNames = []string{"envelope", "header", "body", "auth-results", "score", "tags", "effects"}

// String lists the names.
func (f Facts) String() string {
	var names []string
	for i, n := range factNames {
		if f&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}

// ParseFacts finds the fact of that name.
func ParseFacts(name string) (Facts, bool) {
	for i, n := range factNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}
