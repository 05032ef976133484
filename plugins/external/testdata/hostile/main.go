// Command hostile is a plugin for tests that does not keep to the protocol: how is
// said by its argument.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"mtad/sdk"
	"mtad/sdk/mtadpb"
)

// What mtad holds, and go-plugin puts others in the place of.
var stdout, stderr = os.Stdout, os.Stderr

func main() {
	switch how() {
	case "exits":
		os.Exit(1)
	case "elsewhere":
		fmt.Println("1|1|tcp|127.0.0.1:25|grpc")
		select {}
	case "outside":
		fmt.Println("1|1|unix|/run/mtad.sock|grpc")
		select {}
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: sdk.Handshake(), Plugins: plugin.PluginSet{sdk.PluginName: &glue{}}, GRPCServer: plugin.DefaultGRPCServer,
	})
}

func how() string { return os.Args[1] }

type glue struct{ plugin.NetRPCUnsupportedPlugin }

func (*glue) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	mtadpb.RegisterFilterServer(s, server{})
	return nil
}

func (*glue) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

type server struct {
	mtadpb.UnimplementedFilterServer
}

func (server) Describe(context.Context, *mtadpb.Host) (*mtadpb.Manifest, error) {
	m := &mtadpb.Manifest{Protocol: 2, Name: "hostile", Stages: []string{"message"}, Reads: []string{"header"}, Writes: []string{"header", "body"}}
	switch how() {
	case "long":
		m.Name = strings.Repeat("x", 1<<20)
	case "control":
		m.Version = "1\x1b[2J"
	case "words":
		m.Stages = strings.Split(strings.Repeat("message ", 1000)+"message", " ")
	case "big":
		m.Name = strings.Repeat("x", 64<<20)
	case "protocol":
		m.Protocol = 1 << 31
	case "error":
		m.ConfigError = strings.Repeat("no ", 1<<18)
	}
	return m, nil
}

func (server) Session(stream mtadpb.Filter_SessionServer) error {
	answer := func(v *mtadpb.Verdict) error {
		return stream.Send(&mtadpb.FromPlugin{Kind: &mtadpb.FromPlugin_Verdict{Verdict: v}})
	}
	switch how() {
	case "deaf":
		<-stream.Context().Done()
		return nil
	case "chatty": // it answers before it is asked, and does not listen
		for {
			if err := answer(&mtadpb.Verdict{}); err != nil {
				return err
			}
		}
	}
	for {
		in, err := stream.Recv()
		if err != nil {
			return err
		}
		if in.GetAsk() == nil {
			continue
		}
		v := &mtadpb.Verdict{}
		switch how() {
		case "huge":
			v.Mods = []*mtadpb.Modification{{Kind: &mtadpb.Modification_ReplaceBody{ReplaceBody: make([]byte, 64<<20)}}}
		case "edits":
			for range 20_000 {
				v.Mods = append(v.Mods, &mtadpb.Modification{Kind: &mtadpb.Modification_AddHeader{AddHeader: &mtadpb.HeaderEdit{Name: "X", Value: "y"}}})
			}
		case "half-way":
			if err := stream.Send(&mtadpb.FromPlugin{Kind: &mtadpb.FromPlugin_Pull{Pull: &mtadpb.Pull{Length: 1}}}); err != nil {
				return err
			}
			return nil
		case "empty":
			if err := stream.Send(&mtadpb.FromPlugin{}); err != nil {
				return err
			}
			continue
		case "peek":
			v.Note = pull(stream)
		case "flood":
			flood()
		case "orphan":
			orphan()
		}
		if err := answer(v); err != nil {
			return err
		}
	}
}

// pull asks for what the manifest does not declare.
func pull(stream mtadpb.Filter_SessionServer) string {
	if err := stream.Send(&mtadpb.FromPlugin{Kind: &mtadpb.FromPlugin_Pull{Pull: &mtadpb.Pull{Length: 1000}}}); err != nil {
		return err.Error()
	}
	in, err := stream.Recv()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%q %s", in.GetChunk().GetData(), in.GetChunk().GetError())
}

// flood prints two MiB, of short lines and of one that does not end.
func flood() {
	fmt.Fprintln(os.Stderr, "it begins")
	line := strings.Repeat("flood\n", 1000)
	for range 200 {
		fmt.Fprint(os.Stderr, line)
	}
	for range 100 {
		fmt.Fprint(os.Stderr, strings.Repeat("x", 10_000))
	}
}

// orphan leaves a process behind that holds its output open, and says which.
func orphan() {
	cmd := exec.Command("sleep", "60")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	fmt.Fprintln(stderr, "orphan", cmd.Process.Pid)
	os.Exit(1)
}
