package main

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"mtad/message"
)

func newSMTP(g *global) *cobra.Command {
	return noun("smtp", "Speak SMTP to a server, for trying things out", newSMTPSend(g))
}

// sending is what `smtp send` was asked to do.
type sending struct {
	from, subject, body, file string
	to                        []string
	server, client, helo      string
	auth                      string // user:password
	tls                       bool
	count                     int

	own      *loaded // the configuration, if there is one
	listener *listener
	out      io.Writer
}

func newSMTPSend(g *global) *cobra.Command {
	s := &sending{}
	cmd := &cobra.Command{
		Use: "send", Short: "Send a message by SMTP and print what the server says", Args: cobra.NoArgs,
		Long: "Send a message by SMTP and print what the server says. A refusal exits 1.\n\n" +
			"Without --server the message goes to the first SMTP listener of the configuration\nthat wants no login.",
		Example: "  mtad smtp send --to alice@example.test --subject \"invoice 42\"\n" +
			"  mtad smtp send --client 192.0.2.10 --file mtad-dev/mail/good.eml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.out = cmd.OutOrStdout()
			if err := s.complete(g, cmd.InOrStdin()); err != nil {
				return err
			}
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.from, "from", "", "the sender; \"<>\" is the null sender (default: From of the file, else postmaster)")
	f.StringArrayVar(&s.to, "to", nil, "a recipient; may be repeated (default: To and Cc of the file)")
	f.StringVar(&s.subject, "subject", "A test", "the subject of the message that is made")
	f.StringVar(&s.body, "body", "", "its text; \"-\" reads standard input")
	f.StringVar(&s.file, "file", "", "send this message instead of making one; \"-\" reads standard input")
	f.StringVar(&s.server, "server", "", "where to, host:port")
	f.StringVar(&s.client, "client", "", "pretend by XCLIENT to be a client with this IP address; the listener must allow it")
	f.StringVar(&s.helo, "helo", "", "the name to say in EHLO")
	f.StringVar(&s.auth, "auth", "", "log in as user:password; for test accounts: others see the arguments of your programs")
	f.BoolVar(&s.tls, "tls", false, "use TLS: STARTTLS, or from the first octet where the listener or port 465 wants that")
	f.IntVar(&s.count, "count", 1, "how many times, in one session")
	cmd.MarkFlagsMutuallyExclusive("file", "body")
	cmd.MarkFlagsMutuallyExclusive("file", "subject")
	return cmd
}

// complete fills in what was left out, and reads the file.
func (s *sending) complete(g *global, in io.Reader) error {
	c, err := g.load()
	if err == nil {
		s.own = c
	} else if s.server == "" {
		return err
	}
	if s.client != "" {
		if _, err := netip.ParseAddr(s.client); err != nil {
			return exitf(exitUsage, "--client: %q is no IP address", s.client)
		}
	}
	if s.count < 1 {
		return exitf(exitUsage, "--count must be at least 1")
	}
	if err := s.findServer(); err != nil {
		return err
	}
	if err := s.readFiles(in); err != nil {
		return err
	}
	if s.helo == "" {
		s.helo = s.helloName()
	}
	if len(s.to) == 0 {
		return exitf(exitUsage, "no recipient: give --to, or a --file with To")
	}
	return nil
}

// findServer finds the listener to talk to.
func (s *sending) findServer() error {
	if s.own == nil {
		return nil
	}
	for i := range s.own.listeners {
		l := &s.own.listeners[i]
		if l.Protocol != "smtp" || len(l.Addr) == 0 {
			continue
		}
		switch {
		case s.server == "" && l.Auth != "required":
			s.server, s.listener = reachable(l.Addr[0]), l
			return nil
		case s.server != "" && (s.server == l.Addr[0] || s.server == reachable(l.Addr[0])):
			s.listener = l
			return nil
		}
	}
	if s.server == "" {
		return exitf(exitUsage, "the configuration has no SMTP listener without a login: give --server")
	}
	return nil
}

// reachable is where a listener is connected to.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = map[bool]string{true: "127.0.0.1", false: "::1"}[ip.Is4()]
	} else if host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// readFiles reads the message, or the body of the one to be made, and takes
// from its header who is not named.
func (s *sending) readFiles(in io.Reader) error {
	switch {
	case s.file != "":
		b, err := readArgument(s.file, in)
		if err != nil {
			return err
		}
		s.body = string(b)
		m, err := message.Parse(message.FromBytes(b))
		if err != nil {
			return exitf(exitData, "%s: %w", s.file, err)
		}
		s.takeAddresses(m.Header())
	case s.body == "-":
		b, err := readArgument("-", in)
		if err != nil {
			return err
		}
		s.body = string(b)
	case s.body == "":
		s.body = "Sent by `mtad smtp send`.\n"
	}
	if s.from == "" {
		s.from = s.defaultSender()
	}
	s.from = strings.Trim(s.from, "<>")
	return nil
}

// maxArgument bounds what is read of a file that is an argument.
const maxArgument = 256 << 20

// readArgument reads a file; "-" is standard input.
func readArgument(name string, in io.Reader) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, &exitError{exitNoInput, err}
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxArgument+1))
	switch {
	case err != nil:
		return nil, exitf(exitNoInput, "read %s: %w", name, err)
	case len(b) > maxArgument:
		return nil, exitf(exitData, "%s is too large", name)
	}
	return b, nil
}

func (s *sending) takeAddresses(h *message.Header) {
	list := func(names ...string) (out []string) {
		for _, n := range names {
			for _, v := range h.Values(n) {
				for _, a := range message.ParseAddressList(v) {
					if a.Mark == message.Mailbox {
						out = append(out, a.String())
					}
				}
			}
		}
		return out
	}
	if from := list("From"); s.from == "" && len(from) > 0 {
		s.from = from[0]
	}
	if len(s.to) == 0 {
		s.to = list("To", "Cc")
	}
}

func (s *sending) defaultSender() string {
	user, _, ok := strings.Cut(s.auth, ":")
	domain := "localhost"
	if s.own != nil {
		domain = s.own.top.Origin
	}
	switch {
	case ok && strings.Contains(user, "@"):
		return user
	case ok:
		return user + "@" + domain
	}
	return "postmaster@" + domain
}

// helloName is an address literal for somebody we only pretend to be (RFC 5321,
// 4.1.3), else this machine.
func (s *sending) helloName() string {
	if ip, err := netip.ParseAddr(s.client); err == nil {
		if ip.Is4() {
			return "[" + ip.String() + "]"
		}
		return "[IPv6:" + ip.String() + "]"
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "localhost"
}
