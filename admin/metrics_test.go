package admin

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mtad/pipeline"
)

// public starts the HTTP listener and returns its address.
func (h *harness) public(t *testing.T) string {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	done := make(chan error, 1)
	go func() { done <- h.server.ServePublic(l) }()
	t.Cleanup(func() {
		h.close(t)
		check(t, <-done)
	})
	return l.Addr().String()
}

func getText(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	check(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	check(t, err)
	return res.StatusCode, string(b)
}

func TestMetrics(t *testing.T) {
	h := newHarness(t)
	h.enqueue(t, 1, "x", "a@b.test", time.Now(), "why", "c@d.test")
	h.cfg.Traces.Add(pipeline.Trace{ID: 1, Events: []pipeline.Event{{Note: "x"}}})
	if _, err := h.Trace(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	addr := h.public(t)
	status, text := getText(t, "http://"+addr+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	for _, want := range []string{
		`mtad_info{version="1.2"} 1`,
		`mtad_pipeline_step_verdicts_total{action="continue",kind="spf",pipeline="inbound",step="spf"} 5`,
		`mtad_pipeline_step_verdicts_total{action="reject",kind="spf",pipeline="inbound",step="spf"} 2`,
		`mtad_pipeline_step_faults_total{kind="spf",pipeline="inbound",step="spf"} 1`,
		`mtad_pipeline_step_skipped_total{kind="spf",pipeline="inbound",step="spf"} 3`,
		`mtad_pipeline_step_breaker_open{kind="spf",pipeline="inbound",step="spf"} 1`,
		`mtad_pipeline_step_seconds_bucket{kind="spf",pipeline="inbound",step="spf",le="5e-05"} 4`,
		`mtad_pipeline_step_seconds_bucket{kind="spf",pipeline="inbound",step="spf",le="0.00025"} 6`,
		`mtad_pipeline_step_seconds_bucket{kind="spf",pipeline="inbound",step="spf",le="60"} 6`,
		`mtad_pipeline_step_seconds_bucket{kind="spf",pipeline="inbound",step="spf",le="+Inf"} 7`,
		`mtad_pipeline_step_seconds_sum{kind="spf",pipeline="inbound",step="spf"} 0.007`,
		`mtad_pipeline_step_seconds_count{kind="spf",pipeline="inbound",step="spf"} 7`,
		`mtad_connections{listener="mx",protocol="smtp"} 3`,
		`mtad_connections{listener="imap",protocol="imap"} 5`,
		`mtad_queue_items 1`, `mtad_queue_held 1`,
		`mtad_journal_outstanding_records 0`, `mtad_journal_outstanding_octets 0`,
		`mtad_traces_kept_total 1`, `mtad_traces_dropped_total 0`,
		`go_goroutines `, `process_open_fds `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %s", want)
		}
	}
	if strings.Contains(text, `listener="imaps"`) {
		t.Error("the IMAP server's connections are counted twice")
	}
	body, err := h.do(t.Context(), "GET", "/metrics", nil, nil)
	check(t, err)
	defer body.Close()
	if b, err := io.ReadAll(body); err != nil || !strings.Contains(string(b), "mtad_queue_items 1") {
		t.Errorf("on the control socket: %v", err)
	}
}

func TestPublicIsNarrow(t *testing.T) {
	h := newHarness(t)
	addr := h.public(t)
	if status, text := getText(t, "http://"+addr+"/healthz"); status != http.StatusOK || text != "ok\n" {
		t.Errorf("%d %s", status, text)
	}
	for _, rt := range routes() {
		if status, _ := getText(t, "http://"+addr+rt.path); status != http.StatusNotFound {
			t.Errorf("%s is answered in public: %d", rt.path, status)
		}
	}
}

func TestUnhealthy(t *testing.T) {
	h := newHarness(t)
	addr := h.public(t)
	check(t, h.cfg.DB.Close())
	if status, text := getText(t, "http://"+addr+"/healthz"); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", status, text)
	}
	if _, err := h.Status(t.Context()); code(t, err) != Temporary {
		t.Errorf("got %v", err)
	}
	if status, text := getText(t, "http://"+addr+"/metrics"); status != http.StatusOK || strings.Contains(text, "mtad_queue_items 0") || !strings.Contains(text, "mtad_traces_kept_total") {
		t.Errorf("the rest of the metrics: %d", status)
	}
}

func TestMetricNames(t *testing.T) {
	h := newHarness(t)
	out := make(chan *prometheus.Desc, 100)
	newCollector(&h.cfg).Describe(out)
	close(out)
	for d := range out {
		if !strings.Contains(d.String(), `fqName: "mtad_`) || strings.Contains(d.String(), `help: ""`) {
			t.Error(d)
		}
	}
}

func TestRoutesAreAllDifferent(t *testing.T) {
	var seen []string
	for _, rt := range routes() {
		key := rt.method + " " + rt.path
		if slices.Contains(seen, key) || !strings.HasPrefix(rt.path, "/v1/") || rt.call == nil {
			t.Errorf("%s", key)
		}
		seen = append(seen, key)
	}
}

func TestCloseCutsOff(t *testing.T) {
	h := newHarness(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	h.reload = func() ([]string, error) {
		close(entered)
		<-leave
		return nil, nil
	}
	done := make(chan error, 1)
	go func() { done <- second(h.Reload(context.Background())) }()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check(t, h.server.Close(ctx))
	if err := <-done; code(t, err) != Unavailable {
		t.Errorf("got %v", err)
	}
	close(leave)
}
