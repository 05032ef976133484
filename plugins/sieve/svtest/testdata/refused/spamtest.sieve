require ["spamtest"];
if spamtest {}
if spamtest 5 {}
if spamtest :percent "1" {}
