// Package sdk is what the author of a filter outside mtad's tree imports. A
// filter is a program of its own that mtad starts, talks to over gRPC
// (hashicorp/go-plugin), and starts again if it dies:
//
//	func main() {
//		sdk.Serve(sdk.Manifest{Name: "hello", Version: "1", Stages: []string{"message"}, Writes: []string{"header"}}, newHello)
//	}
//
// The protocol is sdk/mtadpb/filter.proto. What a filter does not declare in its
// Manifest it can't do: mtad refuses the edit and logs it.
package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"mtad/sdk/mtadpb"
)

// Protocol is the newest version of the protocol that this package speaks.
const Protocol = 2

// Handshake tells a plugin started by mtad from one started by hand.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "MTAD_PLUGIN", MagicCookieValue: "filter"}
}

// PluginName is the name of the one service a plugin has, as go-plugin knows it.
const PluginName = "filter"

// Manifest says what a filter is and what it touches.
type Manifest struct {
	Name, Version string
	Stages        []string // connect helo auth unknown mail rcpt data message deliver queued
	Reads         []string // envelope header body auth-results score tags effects; nil is all
	Writes        []string // the same; nil is nothing
	Options       []Option // of config; nil is none
	// Pure says that the filter does nothing but judge: it learns nothing, counts
	// nothing, keeps no copy. It may then be asked while earlier filters are.
	Pure bool
}

// Option is a name that the configuration's config map may have. AnyName stands
// for names that are not known beforehand.
type Option struct {
	Name, Doc string
	Required  bool
}

// AnyName is the Name of an Option that allows every other name.
const AnyName = "*"

// Filter judges one stage. It may be called for several sessions at once. An
// error is a fault of the filter, which the configuration's on_error answers; a
// refusal is a Verdict. A nil Verdict means continue.
type Filter interface {
	Filter(ctx context.Context, stage string, m *Message) (*Verdict, error)
}

// Opener is for filters that keep state for an SMTP session: Open is called at
// its start, and the Filter it returns is asked by that session alone. If it is
// an Ender it is told how each transaction ended; if it is an io.Closer it is
// closed at the session's end.
type Opener interface {
	Open(ctx context.Context) (Filter, error)
}

// Ender is told how a transaction ended: "accepted", "refused" or "aborted".
type Ender interface {
	End(outcome string)
}

// Serve serves the filter that open makes of the configuration's config map. It
// returns when mtad ends the plugin. An error of open is shown to the
// administrator; Serve must be all that main does.
func Serve(m Manifest, open func(config map[string]string) (Filter, error)) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: Handshake(),
		Plugins:         plugin.PluginSet{PluginName: &Plugin{manifest: m, open: open}},
		GRPCServer:      newServer,
	})
}

// Window is how many octets either side sends before the other has read them.
// Windows that gRPC finds by itself would cost a ping and its answer for each
// message of the stream.
const Window = 1 << 20

func newServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts, grpc.InitialWindowSize(Window), grpc.InitialConnWindowSize(Window))...)
}

// Plugin is the glue to go-plugin, on both sides: mtad's side uses its zero
// value.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	manifest Manifest
	open     func(map[string]string) (Filter, error)
}

// GRPCServer registers the service in the plugin.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	mtadpb.RegisterFilterServer(s, &server{plugin: p})
	return nil
}

// GRPCClient is the service as mtad sees it: an mtadpb.FilterClient.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return mtadpb.NewFilterClient(c), nil
}

// server is the plugin's side of the protocol.
type server struct {
	mtadpb.UnimplementedFilterServer
	plugin *Plugin
	filter Filter
}

func (s *server) Describe(_ context.Context, h *mtadpb.Host) (*mtadpb.Manifest, error) {
	m := s.plugin.manifest
	out := &mtadpb.Manifest{
		Protocol: min(Protocol, h.GetProtocol()), Name: m.Name, Version: m.Version,
		Stages: m.Stages, Reads: m.Reads, Writes: m.Writes, Pure: m.Pure,
	}
	for _, o := range m.Options {
		out.Options = append(out.Options, &mtadpb.Option{Name: o.Name, Doc: o.Doc, Required: o.Required})
	}
	if m.Reads == nil {
		out.Reads = []string{"envelope", "header", "body", "auth-results", "score", "tags", "effects"}
	}
	f, err := s.plugin.open(h.GetConfig())
	if err != nil {
		out.ConfigError = err.Error()
		return out, nil
	}
	s.filter = f
	_, opens := f.(Opener)
	_, ends := f.(Ender)
	out.NoEnd = !opens && !ends
	return out, nil
}

// Session serves one SMTP session.
func (s *server) Session(stream mtadpb.Filter_SessionServer) error {
	f := s.filter
	if f == nil {
		return errors.New("session before describe")
	}
	if o, ok := f.(Opener); ok {
		var err error
		if f, err = o.Open(stream.Context()); err != nil {
			return err
		}
		if c, ok := f.(io.Closer); ok {
			defer c.Close()
		}
	}
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch k := in.GetKind().(type) {
		case *mtadpb.ToPlugin_Ask:
			v := judge(stream, f, k.Ask)
			if err := stream.Send(&mtadpb.FromPlugin{Kind: &mtadpb.FromPlugin_Verdict{Verdict: v}}); err != nil {
				return err
			}
		case *mtadpb.ToPlugin_End:
			if e, ok := f.(Ender); ok {
				e.End(k.End.GetOutcome())
			}
		}
	}
}

// judge asks the filter; a panic of it is a fault, not the plugin's end.
func judge(stream mtadpb.Filter_SessionServer, f Filter, ask *mtadpb.Ask) (out *mtadpb.Verdict) {
	defer func() {
		if r := recover(); r != nil {
			out = &mtadpb.Verdict{Error: fmt.Sprintf("panic: %v", r)}
		}
	}()
	m := &Message{view: ask.GetView(), start: ask.GetStart(), stream: stream}
	v, err := f.Filter(stream.Context(), ask.GetStage(), m)
	switch {
	case err != nil:
		return &mtadpb.Verdict{Error: err.Error()}
	case v == nil:
		return &mtadpb.Verdict{}
	}
	return &v.v
}
