package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mtad/pipeline"
)

// metrics is the handler of /metrics.
func (s *Server) metrics() (http.Handler, error) {
	reg := prometheus.NewRegistry()
	err := errors.Join(
		reg.Register(newCollector(&s.cfg)),
		reg.Register(collectors.NewGoCollector()),
		reg.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	)
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		Timeout:             20 * time.Second,
	}), err
}

// collector reads the counters that the rooms keep themselves, when it is asked.
type collector struct {
	cfg *Config

	info, verdicts, faults, skipped, seconds, breaker *prometheus.Desc
	connections, items, held, records, octets         *prometheus.Desc
	kept, dropped                                     *prometheus.Desc
}

func newCollector(cfg *Config) *collector {
	step := []string{"pipeline", "step", "kind"}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("mtad_"+name, help, labels, nil)
	}
	return &collector{
		cfg:         cfg,
		info:        desc("info", "Always 1.", "version"),
		verdicts:    desc("pipeline_step_verdicts_total", "Verdicts of a filter.", append(step, "action")...),
		faults:      desc("pipeline_step_faults_total", "Calls of a filter that gave an error, no verdict.", step...),
		skipped:     desc("pipeline_step_skipped_total", "Calls not made because the filter failed repeatedly.", step...),
		seconds:     desc("pipeline_step_seconds", "Time that a filter took for a call.", step...),
		breaker:     desc("pipeline_step_breaker_open", "1 while a filter is left alone because it failed repeatedly.", step...),
		connections: desc("connections", "Clients connected.", "listener", "protocol"),
		items:       desc("queue_items", "Recipients in the queue."),
		held:        desc("queue_held", "Recipients in the queue that are held."),
		records:     desc("journal_outstanding_records", "Accepted messages that are not in the database yet."),
		octets:      desc("journal_outstanding_octets", "Octets of accepted messages that are not in the database yet."),
		kept:        desc("traces_kept_total", "Traces written."),
		dropped:     desc("traces_dropped_total", "Traces lost."),
	}
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.info, c.verdicts, c.faults, c.skipped, c.seconds, c.breaker,
		c.connections, c.items, c.held, c.records, c.octets, c.kept, c.dropped,
	} {
		out <- d
	}
}

// sink takes samples. Wrong labels become a sample that reports the error.
type sink chan<- prometheus.Metric

func (s sink) add(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
	m, err := prometheus.NewConstMetric(d, t, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	s <- m
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	to := sink(out)
	to.add(c.info, prometheus.GaugeValue, 1, c.cfg.Info.Version)
	for _, st := range c.cfg.Steps() {
		c.step(to, st)
	}
	c.clients(to)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if all, held, err := c.cfg.Queue.Count(ctx); err == nil {
		to.add(c.items, prometheus.GaugeValue, float64(all))
		to.add(c.held, prometheus.GaugeValue, float64(held))
	} else {
		out <- prometheus.NewInvalidMetric(c.items, err)
	}
	records, octets := c.cfg.DB.Journal().Outstanding()
	to.add(c.records, prometheus.GaugeValue, float64(records))
	to.add(c.octets, prometheus.GaugeValue, float64(octets))
	traces := c.cfg.Traces.Stats()
	to.add(c.kept, prometheus.CounterValue, float64(traces.Kept))
	to.add(c.dropped, prometheus.CounterValue, float64(traces.Dropped))
}

// clients counts connections. The IMAP listeners share one server, whose count
// stands once.
func (c *collector) clients(to sink) {
	seen := map[string]bool{}
	for _, l := range c.cfg.Listeners() {
		name := l.Name
		if l.Protocol == "imap" {
			name = "imap"
		}
		if key := l.Protocol + " " + name; !seen[key] {
			seen[key] = true
			to.add(c.connections, prometheus.GaugeValue, float64(l.Connections), name, l.Protocol)
		}
	}
}

func (c *collector) step(to sink, st pipeline.Stats) {
	labels := []string{st.Pipeline, st.Step, st.Kind}
	for a, n := range st.Actions {
		to.add(c.verdicts, prometheus.CounterValue, float64(n), append(labels, a.String())...)
	}
	to.add(c.faults, prometheus.CounterValue, float64(st.Faults), labels...)
	to.add(c.skipped, prometheus.CounterValue, float64(st.Skipped), labels...)
	open := 0.0
	if st.BreakerOpen {
		open = 1
	}
	to.add(c.breaker, prometheus.GaugeValue, open, labels...)
	count, buckets := histogram(st.Took)
	m, err := prometheus.NewConstHistogram(c.seconds, count, st.Total.Seconds(), buckets, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(c.seconds, err)
	}
	to <- m
}

// histogram makes counts of single buckets cumulative. The last bucket has no
// bound: it is the count.
func histogram(took []int64) (count uint64, buckets map[float64]uint64) {
	buckets = map[float64]uint64{}
	bounds := pipeline.LatencyBounds()
	for i, n := range took {
		count += uint64(n)
		if i < len(bounds) {
			buckets[bounds[i].Seconds()] = count
		}
	}
	return count, buckets
}
