package milterd

import (
	"context"
	"fmt"

	gomilter "github.com/emersion/go-milter"

	"mtad/milterd/wire"
	"mtad/pipeline"
)

// The versions of the protocol that are spoken.
const (
	minVersion = 2
	maxVersion = 6
)

// wanted are the macros that a View is made of. A mail server that can be told
// sends these; others send what they are configured to.
var wanted = map[gomilter.Stage][]string{
	gomilter.StageConnect:  wire.MacroNames("j {daemon_name} {daemon_addr} {daemon_port} {if_addr} {client_addr} {client_name} {client_port} {client_ptr} {client_resolve}"),
	gomilter.StageHelo:     wire.MacroNames("r {tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer} {verify}"),
	gomilter.StageMailFrom: wire.MacroNames("i r {auth_type} {auth_authen} {tls_version} {cipher} {cipher_bits}"),
	gomilter.StageRcptTo:   wire.MacroNames("i {rcpt_addr} {rcpt_host} {rcpt_mailer}"),
	gomilter.StageData:     wire.MacroNames("i"),
	gomilter.StageEOM:      wire.MacroNames("i"),
}

// mutes maps events to the stages that are run at them. Where no filter has the
// stage, the mail server need not wait for an answer.
var mutes = map[gomilter.Code]pipeline.Stages{
	gomilter.CodeConn:   pipeline.At(pipeline.Connect),
	gomilter.CodeHelo:   pipeline.At(pipeline.Helo),
	gomilter.CodeMail:   pipeline.At(pipeline.Mail, pipeline.Auth),
	gomilter.CodeRcpt:   pipeline.At(pipeline.Rcpt),
	gomilter.CodeHeader: 0,
	gomilter.CodeEOH:    0,
	gomilter.CodeBody:   0,
}

// skips maps events to the stages that need them.
var skips = map[gomilter.Code]pipeline.Stages{
	gomilter.CodeData:   pipeline.At(pipeline.Data),
	wire.CodeUnknown:    pipeline.At(pipeline.Unknown),
	gomilter.CodeHeader: pipeline.At(pipeline.Message),
	gomilter.CodeEOH:    pipeline.At(pipeline.Message),
	gomilter.CodeBody:   pipeline.At(pipeline.Message),
}

// negotiate answers what the mail server offers. A second negotiation on a
// connection, as some do after QUIT_NC, begins anew.
func (s *session) negotiate(context.Context) error {
	theirs, err := wire.ParseTerms(s.data)
	if err != nil {
		return err
	}
	if theirs.Version < minVersion {
		return fmt.Errorf("%w: it speaks version %d, which is too old", wire.ErrProtocol, theirs.Version)
	}
	s.closeFlow()
	s.openPipeline()
	s.terms = accept(wire.Offer(min(theirs.Version, s.srv.cfg.Protocol)), theirs, s.stages)
	s.out = wire.Append(s.out, byte(gomilter.CodeOptNeg), s.terms.Append(nil)...)
	return nil
}

// accept chooses from what both sides know.
func accept(ours, theirs wire.Terms, stages pipeline.Stages) wire.Terms {
	t := wire.Terms{Version: ours.Version, Actions: ours.Actions & theirs.Actions, Limit: theirs.Limit}
	t.Steps = gomilter.OptHeaderLeadingSpace | gomilter.OptRcptRej
	for code, at := range mutes {
		if stages&at == 0 {
			t.Steps |= wire.Events[code].Mute
		}
	}
	for code, at := range skips {
		if stages&at == 0 {
			t.Steps |= wire.Events[code].Skip
		}
	}
	for _, size := range []gomilter.OptProtocol{wire.OptData1M, wire.OptData256K} {
		if theirs.Steps&size != 0 {
			t.Steps |= size
			break
		}
	}
	t.Steps &= ours.Steps & theirs.Steps
	if t.Actions&gomilter.OptSetSymList != 0 {
		t.Macros = wanted
	}
	return t
}

// openPipeline takes the pipeline in force for the next SMTP session.
func (s *session) openPipeline() {
	p, leave := s.srv.cfg.Pipeline()
	s.pipeline, s.leave, s.stages = p, leave, 0
	for _, st := range p.Steps() {
		if st.Mode != pipeline.Off {
			s.stages |= st.Stages()
		}
	}
}
