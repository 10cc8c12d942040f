class Gateway:
    def __init__(self, name):
        self.name = name

    def complete(self, order):
        order.state = "paid"
        return order


class Processor:
    def run(self, order):
        return order.pk

    def batch(self, orders):
        return len(orders)


def get_gateway(name):
    return Gateway(name)


def make_processor():
    return Processor()
