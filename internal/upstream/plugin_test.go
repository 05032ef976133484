package upstream

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const goPlugin = "hashicorp/go-plugin"

var handshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "MTAD_UPSTREAM", MagicCookieValue: "1"}

// nothing is a plugin without a service of its own: go-plugin's health check is
// enough.
type nothing struct{ plugin.NetRPCUnsupportedPlugin }

func (nothing) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }
func (nothing) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return health.NewHealthClient(c), nil
}

// The test binary is the plugin too, when go-plugin starts it.
func TestMain(m *testing.M) {
	if os.Getenv(handshake.MagicCookieKey) != "" {
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig: handshake, Plugins: plugin.PluginSet{"n": nothing{}}, GRPCServer: plugin.DefaultGRPCServer,
		})
		return
	}
	os.Exit(m.Run())
}

func startPlugin(t *testing.T) (*plugin.Client, *exec.Cmd, health.HealthClient) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	c := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: handshake, Plugins: plugin.PluginSet{"n": nothing{}}, Cmd: cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, Logger: hclog.NewNullLogger(), StartTimeout: patience,
	})
	t.Cleanup(c.Kill)
	rpc, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := rpc.Dispense("n")
	if err != nil {
		t.Fatal(err)
	}
	return c, cmd, raw.(health.HealthClient)
}

// A plugin takes no message above 4 MiB: bodies have to be streamed.
func TestPluginReceiveLimit(t *testing.T) {
	_, _, h := startPlugin(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ask := func(n int) codes.Code {
		_, err := h.Check(ctx, &health.HealthCheckRequest{Service: strings.Repeat("x", n)})
		return status.Code(err)
	}
	if got := ask(3 << 20); got != codes.NotFound {
		t.Fatal("3 MiB:", got)
	}
	if got := ask(5 << 20); got != codes.ResourceExhausted {
		reconsider(t, goPlugin, "a plugin takes 5 MiB: "+got.String())
	}
}

// A plugin that died stays dead: neither the client nor a new dispense starts it
// again.
func TestPluginNoRestart(t *testing.T) {
	c, cmd, _ := startPlugin(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); !c.Exited(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the end was not seen")
		}
	}
	rpc, err := c.Client()
	if err == nil {
		err = rpc.Ping()
	}
	if err == nil || !c.Exited() {
		reconsider(t, goPlugin, "a dead plugin is started again")
	}
	if n := has(names(&plugin.ClientConfig{}), "Restart", "Supervis"); n != "" {
		reconsider(t, goPlugin, "there is an option "+n)
	}
}
