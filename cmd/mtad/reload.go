package main

import (
	"context"
	"time"

	"mtad/cmd/mtad/heap"
	"mtad/monitor"
	"mtad/pipeline"
)

// reload puts the configuration file's new contents in force, or leaves
// everything as it is: whatever can fail comes before the first change. restart
// names settings that only a restart changes.
func (h *house) reload(ctx context.Context) (restart []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tell(monitor.Reloading)
	defer h.tell(monitor.Ready) // also when the old one stays
	c, err := h.from.load()
	if err != nil {
		return nil, err
	}
	c.log.target.Store(h.log)
	next, err := c.build(h.buildEnv(), h.built)
	if err != nil {
		return nil, err
	}
	cert, err := c.certificate()
	if err != nil {
		return nil, err
	}
	paths := h.nextPaths(c, next)
	if err := next.start(ctx); err != nil {
		return nil, &exitError{exitTemp, err}
	}
	if err := h.directory.Configure(directorySettings(c)); err != nil {
		next.stop()
		return nil, &exitError{exitConfig, err}
	}
	if cert != nil {
		h.cert.Store(cert)
	}
	changed := changedOnRestart(h.began, c)
	h.put(c, next, paths)
	for _, r := range h.asked {
		r.judge() // so that it does not hold the old ones until the next question
	}
	h.out.SetLevel(c.top.LogLevel)
	h.warnPostmaster(ctx, c)
	heap.Release()
	h.log.Info("configuration reloaded", "file", h.from.path, "needs_restart", changed)
	return changed, nil
}

// tableGrace is how long tables of an old configuration stay open.
const tableGrace = time.Minute

// put swaps the configuration and its pipelines, both at once.
func (h *house) put(c *loaded, next *built, paths map[string]string) {
	h.swap.Lock()
	defer h.swap.Unlock()
	h.router.Configure(h.routing(c))
	if old := h.config.Swap(c); old != c {
		// Whoever still asks the old tables is done by then.
		time.AfterFunc(tableGrace, func() {
			if err := old.names.Close(); err != nil {
				h.log.Warn("close the tables of an old configuration", "err", err)
			}
		})
	}
	h.built, h.paths = next, paths
	h.set.Swap(next.pipelines, func(err error) {
		if err != nil {
			h.log.Error("close the filters of an old configuration", "err", err)
		}
	})
}

// nextPaths names the pipeline of each listener that is served. One that the new
// configuration has no more, or under another name, goes on until the restart,
// with the pipeline it had: next takes that over if it has none of the name.
func (h *house) nextPaths(c *loaded, next *built) map[string]string {
	paths := map[string]string{}
	for name, path := range h.paths {
		for _, l := range c.listeners {
			if l.name == name && l.hasPipeline() {
				path = l.Pipeline
			}
		}
		if next.pipelines[path] == nil {
			next.pipelines[path] = h.built.pipelines[path]
		}
		paths[name] = path
	}
	return paths
}

// listenerPipeline is the pipeline in force of a listener that is served.
func (h *house) listenerPipeline(name string) (*pipeline.Pipeline, func()) {
	h.swap.RLock()
	defer h.swap.RUnlock()
	return h.set.Acquire(h.paths[name])
}

// deliveryPipeline is the one in force for local recipients.
func (h *house) deliveryPipeline() (*pipeline.Pipeline, func()) {
	h.swap.RLock()
	defer h.swap.RUnlock()
	return h.set.Acquire(h.config.Load().top.DeliveryName)
}
