"""Tokens -> tree. Knows the grammar alone; whether names and arguments make sense is the checker's question.

expression  = operand [ ("=" | "<>" | ">" | ">=" | "<" | "<=") operand ]
operand     = attribute | text | number | keyword | call | "(" expression ")"
call        = name "(" [ expression ] { "," [ expression ] } ")"
"""

from dataclasses import replace

from tasks.expressions.errors import ExpressionError
from tasks.expressions.lexer import Token, TokenKind, tokenize
from tasks.expressions.tree import Attribute, Call, Comparison, Constant, Keyword, Node

MAX_DEPTH = 100
"""Levels that calls and brackets may be nested; far beyond what people write, and safely below Python's own limit."""


def parse(text: str) -> Node:
    """The tree of an expression.

    Raises: ExpressionError for the first thing that does not fit the grammar.
    """
    parser = _Parser(text)
    node = parser.expression(depth=0)
    parser.expect_end()
    return node


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.next = 0

    def peek(self) -> Token:
        return self.tokens[self.next]

    def advance(self) -> Token:
        token = self.tokens[self.next]
        self.next = min(self.next + 1, len(self.tokens) - 1)
        return token

    def fail(self, problem: str, token: Token) -> ExpressionError:
        return ExpressionError(problem, self.text, token.start)

    def expression(self, *, depth: int) -> Node:
        left = self.operand(depth=depth)
        operator = self.peek()
        if operator.kind is not TokenKind.OPERATOR:
            return left
        self.advance()
        right = self.operand(depth=depth)
        if self.peek().kind is TokenKind.OPERATOR:
            raise self.fail(
                "Only two things are compared at a time; put further conditions into And or Or", self.peek()
            )
        return Comparison(str(operator.value), left, right, left.start, right.end)

    def operand(self, *, depth: int) -> Node:
        token = self.advance()
        match token.kind:
            case TokenKind.ATTRIBUTE:
                return Attribute(str(token.value), token.start, token.end)
            case TokenKind.TEXT | TokenKind.NUMBER:
                return Constant(token.value, token.start, token.end)
            case TokenKind.NAME if self.peek().kind is TokenKind.OPEN:
                return self.call(token, depth=depth + 1)
            case TokenKind.NAME:
                return Keyword(str(token.value), token.start, token.end)
            case TokenKind.OPEN:
                return self.bracketed(token, depth=depth + 1)
            case TokenKind.END if len(self.tokens) == 1:
                raise self.fail("The expression is empty", token)
            case TokenKind.END:
                raise self.fail("The expression ends too early: a value is missing", token)
            case _:
                raise self.fail(f"A value is expected here, not {token.kind}", token)

    def bracketed(self, opening: Token, *, depth: int) -> Node:
        self.check_depth(opening, depth)
        node = self.expression(depth=depth)
        if self.peek().kind is not TokenKind.CLOSE:
            raise self.fail("This '(' is never closed", opening)
        closing = self.advance()
        # The brackets belong to the node: its place in the text must be a piece that can stand alone.
        return replace(node, start=opening.start, end=closing.end)

    def call(self, name: Token, *, depth: int) -> Call:
        self.check_depth(name, depth)
        self.advance()
        arguments: list[Node | None] = []
        while True:
            token = self.peek()
            omitted = token.kind in (TokenKind.COMMA, TokenKind.CLOSE)
            arguments.append(None if omitted else self.expression(depth=depth))
            after = self.peek()
            if after.kind not in (TokenKind.COMMA, TokenKind.CLOSE):
                if after.kind is TokenKind.END:
                    raise self.fail(f"The bracket of {name.value} is never closed", name)
                raise self.fail(f"After an argument comes ',' or ')', not {after.kind}", after)
            self.advance()
            if after.kind is TokenKind.CLOSE:
                break
        while arguments and arguments[-1] is None:
            arguments.pop()
        return Call(str(name.value), tuple(arguments), name.start, after.end)

    def check_depth(self, token: Token, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self.fail(f"Calls are nested more than {MAX_DEPTH} levels deep", token)

    def expect_end(self) -> None:
        token = self.peek()
        if token.kind is not TokenKind.END:
            raise self.fail(f"The expression is complete before this; {token.kind} is left over", token)
