require ["spamtestplus", "spamtest", "virustest"];
if virustest :percent "1" {}
