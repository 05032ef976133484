package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"mtad/admin"
	"mtad/cmd/mtad/plug"
	"mtad/pipeline"
)

// traceFile is where traces are kept, in data_dir.
const traceFile = "traces.db"

// httpName is that of the HTTP listener for socket activation.
const httpName = "http"

// storeDir is where database and journal are kept, in data_dir.
const storeDir = "store"

// control is how commands and monitoring reach the house.
type control struct {
	server *admin.Server
	socket net.Listener
	http   net.Listener // nil: not configured
}

// openControl makes the control socket and the HTTP listener; serveControl
// answers there. stop ends the server.
func (h *house) openControl(c *loaded, stop func()) error {
	server, err := admin.New(admin.Config{
		Info: admin.Info{
			Version: version(), PID: os.Getpid(), Started: time.Now().Truncate(time.Second),
			Config: absolute(h.from.path), DataDir: absolute(c.top.DataDir), Hostname: c.top.Hostname,
		},
		DB: h.db, Queue: h.queue, Directory: h.directory, Mailboxes: h.mailboxes, Router: h.router, Traces: h.traces,
		Steps: h.stepStats, Listeners: h.listenerStatus, Reload: h.reload, Stop: stop, Log: h.log,
		CheckScript: h.checkScript, Plugins: plug.Running(h.set.Pipelines), Submit: h.desk().Submit, LogLines: h.out.After,
		Spam: admin.Spam{Keeper: h.learned, Rules: h.learningRules},
	})
	if err != nil {
		return err
	}
	ctl := &control{server: server}
	if ctl.socket, err = admin.Listen(filepath.Join(c.top.DataDir, controlSocket)); err != nil {
		return &exitError{exitIO, err}
	}
	if c.top.HTTP != "" {
		l, err := h.start.Listen(httpName, c.top.HTTP)
		if err != nil {
			return errors.Join(&exitError{exitTemp, fmt.Errorf("listener http: %w", busyPort(err))}, ctl.socket.Close())
		}
		ctl.http = l[0]
	}
	h.control = ctl
	return nil
}

// absolute is a path as everybody understands it.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// serveControl answers until close. failed is told why if it ends earlier.
func (h *house) serveControl(failed func(error)) {
	serve := func(f func(net.Listener) error, l net.Listener) {
		if err := f(l); err != nil {
			failed(err)
		}
	}
	go serve(h.control.server.ServeControl, h.control.socket)
	if h.control.http != nil {
		go serve(h.control.server.ServePublic, h.control.http)
	}
}

// close ends calls under way and removes the socket. It comes last, so that
// whoever waits for the socket to go away finds everything else closed.
func (c *control) close() error {
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := c.server.Close(ctx)
	if c.http != nil {
		c.http.Close() // if it was never served
	}
	return errors.Join(err, c.socket.Close())
}

// stepStats are the counters of every step in force.
func (h *house) stepStats() []pipeline.Stats {
	var out []pipeline.Stats
	for _, p := range h.set.Pipelines() {
		out = append(out, p.Stats()...)
	}
	return out
}

// listening is a listener that is served.
type listening struct {
	listener
	connections func() int
}

// listenerStatus is where clients connect, and how many have.
func (h *house) listenerStatus() []admin.Listener {
	var out []admin.Listener
	for _, l := range h.listening {
		out = append(out, admin.Listener{Name: l.name, Protocol: l.Protocol, Addr: l.Addr, TLS: l.TLS, Connections: l.connections()})
	}
	return out
}
