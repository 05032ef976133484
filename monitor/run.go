package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// variable is how the child knows that it is one: it holds a heritage as JSON.
const variable = "MTAD_MONITOR"

// firstDescriptor is the channel in the child; the sockets follow.
const firstDescriptor = 3

// heritage says what the descriptors are.
type heritage struct {
	Version int      `json:"version"`
	Sockets []string `json:"sockets"` // their names, in order
}

// Socket is a listening socket and the name that it is known by.
type Socket struct {
	Name string
	File *os.File
}

// Config is what Run runs.
type Config struct {
	User    string   // whom the child runs as
	Args    []string // of the child, without the program
	Env     []string // of the child, as os.Environ has it
	Sockets []Socket // for the child; Run closes them
	Policy  Policy
	Stdin   *os.File
	Stdout  io.Writer
	Stderr  io.Writer
	// State is told how the child says that it is.
	State func(State)
	// Stop ends the child when it is closed, as SIGTERM does.
	Stop <-chan struct{}
	Log  *slog.Logger
}

// Run starts the child and serves it until it ends, and returns its exit status.
// It passes SIGTERM, SIGINT and SIGHUP on. The process must be root's; its umask
// becomes 077.
func Run(cfg Config) (status int, err error) {
	defer func() {
		for _, s := range cfg.Sockets {
			s.File.Close()
		}
	}()
	cred, err := childCredential(cfg.User)
	if err != nil {
		return 0, err
	}
	if err := closeOnExec(); err != nil {
		return 0, fmt.Errorf("monitor: close descriptors: %w", err)
	}
	unix.Umask(0o077)
	ours, theirs, err := pair(unix.SOCK_SEQPACKET)
	if err != nil {
		return 0, err
	}
	channel, err := unixConn(ours)
	if err != nil {
		return 0, errors.Join(err, theirs.Close())
	}
	defer channel.Close()
	cmd, err := cfg.command(cred, theirs)
	if err != nil {
		return 0, errors.Join(err, theirs.Close())
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	ended, err := launch(cmd)
	if err = errors.Join(err, theirs.Close()); err != nil {
		return 0, fmt.Errorf("monitor: start the server as %s: %w", cfg.User, err)
	}
	for _, s := range cfg.Sockets {
		s.File.Close() // they are the child's alone
	}
	srv := newServer(cfg.Policy, self(), cred.Uid, cfg.State, cfg.Log)
	return cfg.attend(srv, channel, cmd, signals, ended)
}

// attend serves the child until it has ended.
func (cfg *Config) attend(srv *server, channel *net.UnixConn, cmd *exec.Cmd, signals <-chan os.Signal, ended <-chan struct{}) (int, error) {
	served := make(chan error, 1)
	go func() { served <- srv.serve(channel) }()
	stop := cfg.Stop
	for {
		select {
		case s := <-signals:
			cmd.Process.Signal(s)
		case <-stop:
			stop = nil
			cmd.Process.Signal(syscall.SIGTERM)
		case err := <-served:
			served = nil
			if err != nil {
				cfg.Log.Error("monitor: the server is not what it should be, and is killed", "err", err)
				cmd.Process.Kill()
			}
		case <-ended:
			channel.Close()
			if served != nil {
				<-served // and with it all that runs
			}
			return exitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus)), nil
		}
	}
}

// launch starts the child from a thread that may gain no privileges, and that
// lives as long as the child: a thread's end is what the child is told of.
func launch(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	end, started := make(chan struct{}), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := noNewPrivileges()
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in ProcessState
			close(end)
		}
	}()
	return end, <-started
}

// command is the child.
func (cfg *Config) command(cred *syscall.Credential, channel *os.File) (*exec.Cmd, error) {
	h := heritage{Version: version}
	cmd := exec.Command(self(), cfg.Args...)
	cmd.Args[0] = os.Args[0]
	cmd.ExtraFiles = []*os.File{channel}
	for _, s := range cfg.Sockets {
		h.Sockets = append(h.Sockets, s.Name)
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.File)
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(slices.DeleteFunc(slices.Clone(cfg.Env), isOurs), variable+"="+string(text))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = cfg.Stdin, cfg.Stdout, cfg.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Pdeathsig: syscall.SIGTERM}
	return cmd, nil
}

// isOurs reports whether a variable speaks of this process, not of the child.
func isOurs(v string) bool {
	name, _, _ := strings.Cut(v, "=")
	return slices.Contains([]string{variable, "NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"}, name)
}

// self is the path of this binary, also when a newer one has taken its place.
func self() string {
	const link = "/proc/self/exe"
	if _, err := os.Stat(link); err == nil {
		return link
	}
	return os.Args[0] // there is no /proc
}

// childCredential finds the user whom the child runs as, with its groups.
func childCredential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	a, err := newAccount(u)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	if a.uid == 0 || a.gid == 0 {
		return nil, fmt.Errorf("user %s is root, or in its group", name)
	}
	cred := &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: []uint32{a.gid}}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %s: %w", name, err)
	}
	for _, g := range groups {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil && n != 0 && uint32(n) != a.gid {
			cred.Groups = append(cred.Groups, uint32(n))
		}
	}
	return cred, nil
}

// Connect returns, in a child, the client of its monitor and the sockets that it
// has from it. In other processes it returns nothing.
func Connect() (*Client, []Socket, error) {
	text, ok := os.LookupEnv(variable)
	if !ok {
		return nil, nil, nil
	}
	if err := os.Unsetenv(variable); err != nil {
		return nil, nil, err
	}
	var h heritage
	if err := strictly([]byte(text), &h); err != nil || h.Version != version {
		return nil, nil, fmt.Errorf("monitor: %s is %q; it is set by the monitor alone", variable, text)
	}
	unix.CloseOnExec(firstDescriptor)
	channel, err := unixConn(os.NewFile(firstDescriptor, "monitor"))
	if err != nil {
		return nil, nil, err
	}
	var sockets []Socket
	for i, name := range h.Sockets {
		fd := firstDescriptor + 1 + i
		unix.CloseOnExec(fd)
		sockets = append(sockets, Socket{name, os.NewFile(uintptr(fd), name)})
	}
	return newClient(channel), sockets, nil
}
