#!/usr/bin/perl
# What SpamAssassin itself makes of its configuration and of messages, as JSON: the
# tests compare it with this program's. Asked for on standard input, a line each:
#   conf            the rules, scores and lists
#   check PATH      a message: what it is rendered to, and what hits
#   vouched DOMAINS SENDER  who has signed the messages that are checked from now on (parted by ","), and for whom SPF passes; "-" is nobody
#   head PATH       a message: only what rules may ask of its header, its relays and links; no rules
#   tokens PATH     its tokens for Bayes, and what they are made of
#   line REGION HEX the tokens of a line
#   markup PATH     what a document of HTML is taken apart to: tags, text, comments
#   unmark PATH     it, as it was before SpamAssassin marked it
#   plugins         the settings and functions of each plugin, and the settings that need none
#   call NAME HEX.. what a function of SpamAssassin's gives for arguments in hexadecimal
#   learn CLASS PATH  learns it as ham or spam, or forgets it (forget)
#   close           ends learning: other programs may look at the state now
#   bayes PATH      what Bayes says of it
#   autolearn PATH  whether it would be learned, and why
#   expire          expires tokens by force
# Bytes beyond ASCII are written as the character of that number.
# Arguments: directory of rules, directory of the site, further options name=value.
use strict;
use warnings;
use File::Temp qw(tempdir);
use JSON::PP;
use HTML::Parser;
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;

my ($rules, $site, @more) = @ARGV;
my %opt = map { split /=/, $_, 2 } @more;
my $sa = Mail::SpamAssassin->new({
	rules_filename => $rules,
	site_rules_filename => $site,
	userprefs_filename => $opt{prefs} // '/dev/null',
	userstate_dir => $opt{state} // tempdir(CLEANUP => 1),
	dont_copy_prefs => 1,
	local_tests_only => $opt{net} ? 0 : 1,
	post_config_text => $opt{text} // '',
	keep_config_parsing_metadata => 0,
	# tests and priorities are thrown away otherwise
	pre_config_text => "allow_user_rules 1\n",
	save_pattern_hits => 1,
});
$sa->init(1);
{
	package Vouched;
	our @ISA = ('Mail::SpamAssassin::Plugin');
	our ($domains, $sender) = ('-', '-');
	sub check_start {
		my $pms = $_[1]->{permsgstatus};
		my @list = split /,/, $domains;
		$pms->set_tag('DKIMDOMAIN', @list == 1 ? $list[0] : \@list) if $domains ne '-';
		@{$pms}{qw(spf_pass spf_sender)} = (1, $sender) if $sender ne '-';
	}
}
push @{$sa->{plugins}{plugins}}, Vouched->new($sa);
# TxRep forgets a message without a look at its relays, and so what other senders have.
if (my $forget = Mail::SpamAssassin::Plugin::TxRep->can('forget_message')) {
	no warnings qw(redefine once);
	*Mail::SpamAssassin::Plugin::TxRep::forget_message = sub {
		my ($self, $params) = @_;
		return $forget->(@_) if $self->{last_pms};
		local $self->{last_pms} = Mail::SpamAssassin::PerMsgStatus->new($self->{main}, $params->{msg});
		$self->{last_pms}->extract_message_metadata();
		return $forget->(@_);
	};
}
delete $sa->{plugins}{cbs}{check_start};
my $json = JSON::PP->new->canonical->ascii->allow_nonref;
$| = 1;

sub bytes {
	my $s = shift;
	return undef unless defined $s;
	utf8::encode($s) if utf8::is_utf8($s);
	return $s;
}

sub conf {
	my $c = $sa->{conf};
	my %out;
	for my $name (keys %{$c->{tests}}) {
		my $qr = $c->{test_qrs}{$name};
		$out{rules}{$name} = {
			type => $c->{test_types}{$name} + 0,
			text => bytes("" . ($c->{tests}{$name} // '')),
			qr => defined $qr ? bytes("$qr") : '',
			scores => [map { ($c->{scoreset}[$_]{$name} // 0) + 0 } 0 .. 3],
			tflags => $c->{tflags}{$name} // '',
			priority => ($c->{priority}{$name} // 0) + 0,
			describe => bytes($c->{descriptions}{$name} // ''),
		};
	}
	for my $list (qw(welcomelist_auth def_welcomelist_auth welcomelist_from def_welcomelist_from_spf def_welcomelist_from_dkim def_welcomelist_from_rcvd)) {
		$out{lists}{$list} = [sort keys %{$c->{$list} || {}}];
	}
	$out{uridnsbls} = [sort keys %{$c->{uridnsbls}}];
	$out{tlds} = scalar keys %{$c->{valid_tlds}};
	$out{second} = scalar keys %{$c->{two_level_domains}};
	$out{third} = scalar keys %{$c->{three_level_domains}};
	$out{plugins} = [sort keys %{$c->{plugins_loaded}}];
	return \%out;
}

# What rules may ask of a header.
my @names = qw(X-Spam-Relays-Trusted X-Spam-Relays-Untrusted X-Spam-Relays-Internal X-Spam-Relays-External
	EnvelopeFrom EnvelopeFrom:first:addr:host MESSAGEID ToCc ALL ALL-TRUSTED ALL-UNTRUSTED ALL-INTERNAL ALL-EXTERNAL ALL:raw ALL-TRUSTED:raw
	ALL-EXTERNAL:raw Subject Subject:raw From From:raw From:addr From:name From:name:raw From:addr:host From:addr:domain From:first:addr To To:raw
	To:addr To:name To:last:addr To:first:name Reply-To:addr Reply-To:name Cc Cc:addr Cc:name Sender:addr Content-Type Message-ID Received Received:raw
	Received:ip Received:last:ip Received:first:revip Date Subject:host From:host From:domain To:host Cc:host Reply-To:domain Message-ID:host Message-ID:domain References:host
	X-Originating-IP X-Originating-IP:ip X-Originating-IP:revip List-Unsubscribe:host Subject:ip Return-Path:addr);

sub header {
	my ($pms, $out) = @_;
	for my $name (@names) {
		my @v = $pms->get($name);
		$out->{get}{$name} = @v ? bytes(join($v[0] =~ /\n\z/ ? '' : "\n", @v)) : undef;
	}
	$out->{from} = [sort map { bytes($_) } $pms->all_from_addrs()];
	$out->{fromdomains} = [sort map { bytes($_) } $pms->all_from_addrs_domains()];
	$out->{to} = [sort map { bytes($_) } $pms->all_to_addrs()];
	$out->{unparseable} = $pms->{num_relays_unparseable} + 0;
	$out->{last} = [$pms->{last_trusted_relay_index} + 0, $pms->{last_internal_relay_index} + 0];
}

sub links {
	my ($pms, $out) = @_;
	$out->{uris} = [sort map { bytes($_) } $pms->get_uri_list()];
	my $details = $pms->get_uri_detail_list();
	for my $uri (keys %$details) {
		my $d = $details->{$uri};
		$out->{details}{bytes($uri)} = {
			types => [sort keys %{$d->{types}}],
			cleaned => [sort map { bytes($_) } @{$d->{cleaned} || []}],
			domains => [sort map { bytes($_) } keys %{$d->{domains} || {}}],
			text => [map { bytes($_) } @{$d->{anchor_text} || []}],
		};
	}
}

sub head {
	my $msg = parse(shift);
	my $pms = Mail::SpamAssassin::PerMsgStatus->new($sa, $msg);
	$pms->extract_message_metadata();
	my %out;
	header($pms, \%out);
	links($pms, \%out);
	$pms->finish();
	$msg->finish();
	return \%out;
}

sub parse {
	my $path = shift;
	open my $fh, '<:raw', $path or die "$path: $!";
	my $text = do { local $/; <$fh> };
	return $sa->parse($text, 1);
}

sub check {
	my $msg = parse(shift);
	my %out;
	# Before the check: a plugin (FreeMail) changes the text under the rules that follow.
	$out{body} = [map { bytes($_) } @{$msg->get_rendered_body_text_array()}];
	my $pms = $sa->check($msg);
	$out{score} = $pms->get_score() + 0;
	my %hit = %{$pms->{tests_already_hit}};
	$out{hits} = { map { $_ => $hit{$_} + 0 } grep { $hit{$_} } keys %hit };
	$out{seen} = [map { bytes($_) } @{$pms->get_decoded_stripped_body_text_array()}];
	$out{rawbody} = [map { bytes($_) } @{$pms->get_decoded_body_text_array()}];
	$out{visible} = [map { bytes($_) } @{$msg->get_visible_rendered_body_text_array()}];
	$out{invisible} = [map { bytes($_) } @{$msg->get_invisible_rendered_body_text_array()}];
	links($pms, \%out);
	header($pms, \%out);
	$out{html} = {};
	for my $k (keys %{$pms->{html} || {}}) {
		my $v = $pms->{html}{$k};
		$out{html}{$k} = bytes("$v") if defined $v && !ref $v;
	}
	for my $part ($msg->find_parts(qr/./, 1)) {
		push @{$out{parts}}, { type => bytes($part->{type} // ''), effective => bytes($part->effective_type() // ''), charset => bytes($part->{charset} // ''),
			name => bytes($part->{name} // ''), html => { map { $_ => bytes("$part->{html_results}{$_}") } grep { defined $part->{html_results}{$_} && !ref $part->{html_results}{$_} } keys %{$part->{html_results} || {}} } };
	}
	$out{report} = bytes($pms->get_report());
	$out{matched} = { map { $_ => bytes($pms->{pattern_hits}{$_}) } keys %{$pms->{pattern_hits} || {}} };
	if ($opt{state}) {
		$out{autolearn} = $pms->get_autolearn_status();
		$out{set} = $sa->{conf}->get_score_set() + 0;
		$out{bayes} = defined $pms->{bayes_score} ? $pms->{bayes_score} + 0 : undef;
		$out{bayestags} = bytes($pms->_replace_tags('_BAYES_ _TOKENSUMMARY_ _BAYESTC_ _BAYESTCLEARNED_ _BAYESTCHAMMY_ _BAYESTCSPAMMY_'));
	}
	$out{tags} = { map { my $v = $pms->get_tag($_); $_ => defined $v ? bytes("$v") : undef } split /,/, $opt{tags} // '' };
	$out{rewritten} = bytes($pms->rewrite_mail()) if $opt{rewrite};
	$pms->finish();
	$msg->finish();
	return \%out;
}

sub plugin {
	my $class = "Mail::SpamAssassin::Plugin::" . shift;
	my ($p) = grep { ref $_ eq $class } @{$sa->{plugins}{plugins}};
	return $p;
}

sub tokens {
	my $msg = parse(shift);
	my $bayes = plugin('Bayes');
	my $data = $bayes->get_body_from_msg($msg);
	my $tokens = $bayes->tokenize($msg, $data);
	my %out = (date => $msg->receive_date());
	push @{$out{utf8::is_utf8($_) ? 'htmluris' : 'uris'}}, bytes($_) for @{$data->{bayes_token_uris} || []};
	for my $hash (keys %$tokens) {
		utf8::downgrade($tokens->{$hash}, 1);
		$out{tokens}{unpack 'H*', $hash} = bytes($tokens->{$hash});
	}
	$out{ids} = [map { bytes($_) } grep { defined } $msg->generate_msgid(), $msg->get_msgid()];
	for my $line ($msg->get_all_metadata()) {
		my ($name, $value) = split /: /, $line, 2;
		chomp $value;
		push @{$out{metadata}}, { name => bytes($name), value => bytes($value) };
	}
	for my $line ($msg->get_all_headers()) {
		my ($name, $value) = split /:/, $line, 2;
		next unless $name =~ /^(?:X-|Resent-)?(?:Return-Path|From|To|Cc|Reply-To|Errors-To|Mail-Followup-To|Sender)$/i;
		chomp $value;
		$out{addresses}{bytes($value)} = [map { { phrase => bytes($_->{phrase}), address => bytes($_->{address}) } }
			Mail::SpamAssassin::Util::parse_header_addresses($value)];
	}
	$msg->finish();
	return \%out;
}

sub unmark {
	my $msg = parse(shift);
	my $text = $msg->get_header('X-Spam-Checker-Version') ? $sa->remove_spamassassin_markup($msg) : $msg->get_pristine();
	$msg->finish();
	return { text => bytes($text) };
}

sub line {
	my ($region, $hex) = split / /, shift;
	return { tokens => [map { bytes($_) } plugin('Bayes')->_tokenize_line(pack('H*', $hex), '', $region)] };
}

# As Mail::SpamAssassin::HTML has it: what is open of these at the end is closed before it.
sub markup {
	open my $fh, '<:raw', shift or die $!;
	my $text = do { local $/; <$fh> };
	my (@events, %inside);
	my $tag = sub {
		my ($name, $attr, $num) = @_;
		$inside{$name} += $num;
		$inside{$name} = 0 if $inside{$name} < 0;
		push @events, join ' ', $num > 0 ? 'start' : 'end', bytes($name), $num > 0 ? map { bytes($_) . '=' . bytes($attr->{$_}) } sort keys %$attr : ();
	};
	my $p = HTML::Parser->new(api_version => 3, marked_sections => 1,
		handlers => [
			start => [$tag, "tagname,attr,'+1'"],
			end => [$tag, "tagname,attr,'-1'"],
			text => [sub { push @events, 'text ' . bytes(shift) }, 'dtext'],
			comment => [sub { push @events, 'comment ' . bytes(shift) }, 'text'],
			declaration => [sub { push @events, 'declaration ' . bytes(shift) }, 'text'],
		]);
	$p->utf8_mode(1);
	eval {
		local $SIG{__WARN__} = sub { };
		$p->parse($text);
		for my $name (qw(style script)) {
			$p->parse("</$name>") while ($inside{$name} // 0) > 0;
		}
		$p->eof;
	};
	return { events => \@events, died => "$@" };
}

# Functions by the names that tests have for them: each gives a list.
my %functions = (
	date => sub { Mail::SpamAssassin::Util::parse_rfc822_date(shift) },
	forms => sub { sort(Mail::SpamAssassin::Util::uri_list_canonicalize($sa->{conf}{redirector_patterns}, [shift], $sa->{registryboundaries})) },
	domain => sub { $sa->{registryboundaries}->uri_to_domain(shift) },
	base64 => sub { Mail::SpamAssassin::Util::base64_decode(shift) },
	qp => sub { Mail::SpamAssassin::Util::qp_decode(shift) },
	network => sub {
		my ($ip, $four, $six) = @_;
		require Mail::SpamAssassin::Plugin::TxRep;
		return Mail::SpamAssassin::Plugin::TxRep::ip_to_awl_key({ conf => { txrep_ipv4_mask_len => $four, txrep_ipv6_mask_len => $six } }, $ip) // 'none';
	},
	color => sub { Mail::SpamAssassin::HTML::name_to_rgb(shift) },
	decode => sub { my ($charset, $insist, $text) = @_; Mail::SpamAssassin::Message::Node::_normalize($text, $charset, !$insist, $insist) },
);

sub call {
	my ($name, @args) = split / /, shift, -1;
	return { list => [map { bytes("$_") } grep { defined } $functions{$name}->(map { pack 'H*', $_ } @args)] };
}

sub plugins {
	my %out;
	for my $name (map { m{(\w+)\.pm$} } glob $INC{'Mail/SpamAssassin.pm'} =~ s/\.pm$/\/Plugin\/*.pm/r) {
		next if $name eq 'Test';
		my $class = "Mail::SpamAssassin::Plugin::$name";
		local $sa->{conf}{parser}{command_luts} = {};
		local $sa->{conf}{eval_plugins} = {};
		local $SIG{__WARN__} = sub { };
		eval "require $class; 1" or next;
		$class->new($sa);
		$out{$name} = { settings => [sort keys %{$sa->{conf}{parser}{command_luts}}], functions => [sort keys %{$sa->{conf}{eval_plugins}}] };
	}
	return { plugins => \%out, core => [map { $_->{setting} } @{$sa->{conf}->set_default_commands()}] };
}

sub learn {
	my ($class, $path) = split / /, shift, 2;
	my $msg = parse($path);
	$sa->init_learner({ caller_will_untie => 1 });
	my $status = $sa->learn($msg, undef, $class eq 'spam' ? 1 : 0, $class eq 'forget' ? 1 : 0);
	my %out = (learned => $status->did_learn() ? 1 : 0);
	$status->finish();
	$msg->finish();
	return \%out;
}

sub bayes {
	my $msg = parse(shift);
	my $pms = Mail::SpamAssassin::PerMsgStatus->new($sa, $msg);
	$msg->extract_message_metadata($pms);
	my $score = plugin('Bayes')->scan($pms, $msg);
	my %out = (scored => defined $score ? 1 : 0, score => ($score // 0) + 0);
	for my $tag (qw(BAYESTC BAYESTCLEARNED BAYESTCSPAMMY BAYESTCHAMMY TOKENSUMMARY)) {
		my $v = $pms->get_tag($tag);
		$out{tags}{$tag} = defined $v ? bytes("$v") : undef;
	}
	for my $kind (qw(hammy spammy)) {
		$out{$kind} = [map { { text => bytes($_->[0]), probability => $_->[1] + 0, spam => $_->[2] + 0, ham => $_->[3] + 0, atime => $_->[4] + 0 } }
			@{$pms->{"bayes_token_info_$kind"} || []}];
		for my $form (qw(compact Compact short Short medium long Long)) {
			$out{lists}{"$kind $form"} = bytes($pms->get_tag(uc($kind) . 'TOKENS', "200,$form"));
		}
	}
	$pms->finish();
	$msg->finish();
	return \%out;
}

sub autolearn {
	my $msg = parse(shift);
	my $pms = $sa->check($msg);
	my $ref = plugin('AutoLearnThreshold')->autolearn_discriminator({ permsgstatus => $pms });
	my %out = (class => $ref ? ($ref->[0] ? 'spam' : 'ham') : 'none', hits => [@{$pms->{test_names_hit}}], score => $pms->{score} + 0);
	$out{$_} = ($pms->{"${_}_points"} // 0) + 0 for qw(autolearn body_only head_only learned);
	$out{set} = $sa->{conf}->get_score_set() + 0;
	$pms->finish();
	$msg->finish();
	return \%out;
}

sub expire {
	$sa->init_learner({ force_expire => 1, caller_will_untie => 0 });
	$sa->rebuild_learner_caches({ verbose => 0, showdots => 0 });
	$sa->finish_learner();
	return {};
}

my %verbs = (conf => \&conf, check => \&check, head => \&head, tokens => \&tokens, line => \&line, call => \&call, markup => \&markup, unmark => \&unmark, learn => \&learn, bayes => \&bayes,
	vouched => sub { ($Vouched::domains, $Vouched::sender) = split / /, shift; return {} },
	plugins => \&plugins, autolearn => \&autolearn, expire => \&expire, close => sub { $sa->finish_learner(); $sa->init_learner({ caller_will_untie => 0 }); return {} });
while (defined(my $line = <STDIN>)) {
	chomp $line;
	my ($verb, $arg) = split / /, $line, 2;
	my $out = eval { $verbs{$verb}->($arg) };
	$out = { error => "$@" } if $@;
	my $text = $json->encode($out);
	print length($text), "\n", $text, "\n";
}
