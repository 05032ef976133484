require ["virustest"];
if virustest {}
if virustest :percent "1" {}
